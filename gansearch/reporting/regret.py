"""How policies came nearer to the best over time: the figure of a replay."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from gansearch import files
from gansearch.reporting.style import (
    FAMILY_COLOURS,
    HEIGHT,
    as_pdf,
    as_svg,
    legend,
    log_axis,
    panel,
    styled,
)
from gansearch.search.replay import NEAR, Replay, regret

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def regret_curves(found: Replay) -> Figure:
    """Each policy's regret over device-seconds: the median of its plays, and the quartiles."""
    figure, axes = panel(HEIGHT + 0.18 * len(found.results))
    recording = found.recording
    least = NEAR * abs(recording.best) / 5 or 1e-12  # below that a regret is none
    for number, result in enumerate(found.results):
        again, at = divmod(number, len(FAMILY_COLOURS))
        curve, colour = regret(result, recording), FAMILY_COLOURS[at]
        low, middle, high = (
            np.maximum(values, least) for values in (curve.low, curve.middle, curve.high)
        )
        label, dashes = result.policy.label, ("-", "--", "-.")[again % 3]
        axes.plot(curve.seconds, middle, color=colour, ls=dashes, label=label, drawstyle="steps-post")
        if len(result.plays) > 1:
            known = np.isfinite(high)
            axes.fill_between(
                curve.seconds[known], low[known], high[known], color=colour, alpha=0.15, lw=0
            )
    if recording.best:
        near = f"within {100 * NEAR:.0f} % of the best"
        axes.axhline(NEAR * abs(recording.best), color="black", lw=0.6, ls=":", label=near)
    log_axis(axes, "y")
    axes.set_xlabel(f"device-seconds, {found.workers} workers")
    axes.set_ylabel(f"regret in {found.metric}")
    legend(figure, axes, columns=1)
    return figure


def write_regret(found: Replay, out: Path) -> Path:
    """Write the figure as SVG, or as PDF where the name ends so."""
    with styled():
        figure = regret_curves(found)
    files.write(out, as_pdf(figure) if out.suffix.lower() == ".pdf" else as_svg(figure))
    return out
