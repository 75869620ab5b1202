"""The tolerance study as tables: how far a value of a configuration can be moved."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from gansearch.analysis.comparisons import probability_better, ratio_interval
from gansearch.analysis.evidence import Evidence
from gansearch.analysis.seeds import Group, frame, grouped, with_bounds
from gansearch.analysis.statistics import Interval
from gansearch.errors import listed

BEARABLE = 1.1
"""A tolerance study's question: does the IQM become worse by more than a tenth?"""

BEARS, SUFFERS, UNDECIDED = "bears it", "suffers", "undecided"

_TOLERANCE = (
    {"of": "string", "axis": "string", "factor": "Float64", "value": "Float64", "seeds": "Int64"}
    | dict.fromkeys(("success_rate", "success_low", "success_high"), "Float64")
    | dict.fromkeys(("iqm", "iqm_low", "iqm_high"), "Float64")
    | dict.fromkeys(("ratio", "ratio_low", "ratio_high"), "Float64")
    | dict.fromkeys(("p_beats_centre", "p_low", "p_high"), "Float64")
    | {"verdict": "string"}
)


def tolerance(evidence: Evidence) -> pd.DataFrame:
    """What becomes of a configuration when one of its values is multiplied by a factor.

    One row a factor, the centre among them at 1, sorted by `of`, `axis` and factor. `ratio` is the
    row's IQM over the centre's (to be maximised: the centre's over the row's), so above 1 is worse; it
    is said for positive values only. `verdict`, NA for the centre:

    - `suffers`: the interval of the ratio lies wholly above 1.1, or that of the success rate wholly
      below the centre's;
    - `bears it`: the interval of the ratio lies wholly below 1.1, and the success rate is not below the
      interval of the centre's;
    - `undecided` otherwise: more seeds would tell.
    """
    groups = {group.label: group for group in grouped(evidence)}
    around = [group for group in groups.values() if group.candidate.kind == "around"]
    arms: dict[tuple[str, str], list[Group]] = {}
    for group in around:
        if group.candidate.of in groups:
            arms.setdefault((group.candidate.of, group.candidate.axis), []).append(group)
    rows = []
    for (of, axis), members in arms.items():
        centre = groups[of]
        row = {"of": of, "axis": axis, "factor": 1.0} | _measured(centre, axis)
        rows.append(row | {"ratio": 1.0 if row["iqm"] is not None else None})
        rows += [_borne(group, centre) for group in members]
    table = frame(rows, _TOLERANCE)
    return table.sort_values(["of", "axis", "factor"], ignore_index=True)


def _measured(group: Group, axis: str) -> dict[str, Any]:
    return {
        "value": _value_at(group.candidate.config, axis),
        "seeds": group.counted,
        **with_bounds("success_rate", group.rate, "success"),
        **with_bounds("iqm", group.interval(group.bests, "iqm")),
    }


def _borne(group: Group, centre: Group) -> dict[str, Any]:
    candidate = group.candidate
    worse, than = (group.bests, centre.bests) if group.goal == "min" else (centre.bests, group.bests)
    ratio = ratio_interval(worse, than)
    beats = probability_better(group.costs, centre.costs)
    return {
        "of": candidate.of,
        "axis": candidate.axis,
        "factor": candidate.factor,
        **_measured(group, candidate.axis),
        **with_bounds("ratio", ratio),
        **with_bounds("p_beats_centre", beats, "p"),
        "verdict": _verdict(ratio, group.rate, centre.rate),
    }


def _verdict(ratio: Interval, rate: Interval, centre: Interval) -> str:
    if rate.value is None or centre.value is None:
        return UNDECIDED
    if rate.high < centre.low or (ratio.low is not None and ratio.low > BEARABLE):  # type: ignore[operator]
        return SUFFERS
    as_often = rate.value >= centre.low  # type: ignore[operator]
    return BEARS if as_often and ratio.high is not None and ratio.high < BEARABLE else UNDECIDED


def _value_at(config: Mapping[str, Any], path: str) -> float | None:
    """The number at a dotted path of a configuration, or None."""
    node: Any = config
    for key in path.split("."):
        node = node.get(key) if isinstance(node, Mapping) else None
    return float(node) if isinstance(node, int | float) and not isinstance(node, bool) else None


def bears(evidence: Evidence) -> pd.DataFrame:
    """How far each value of a configuration can be moved: the widest unbroken range of factors borne.

    Columns: `of`, `axis`, `low` and `high` (factors; 1 where nothing on that side is borne),
    `value_low` and `value_high` (what the axis is there), and the same in `words`.
    """
    rows = []
    for (of, axis), arm in tolerance(evidence).groupby(["of", "axis"], sort=False):
        below, above = arm[arm["factor"] < 1][::-1], arm[arm["factor"] > 1]
        low, high = _reach(below), _reach(above)
        values = arm.set_index("factor")["value"]
        row = {"of": of, "axis": axis, "low": low, "high": high}
        row |= {"value_low": values[low], "value_high": values[high]}
        rows.append(row | {"words": _in_words(low, high, row["value_low"], row["value_high"], arm)})
    columns = {"of": "string", "axis": "string"}
    columns |= dict.fromkeys(("low", "high", "value_low", "value_high"), "Float64")
    return frame(rows, columns | {"words": "string"})


def _reach(side: pd.DataFrame) -> float:
    """The factor farthest from 1 up to which every one is borne; `side` begins next to 1."""
    reach = 1.0
    for factor, verdict in zip(side["factor"], side["verdict"], strict=True):
        if verdict != BEARS:
            break
        reach = float(factor)
    return reach


def _in_words(low: float, high: float, value_low: Any, value_high: Any, arm: pd.DataFrame) -> str:
    if low == high:
        text = "no tested change is surely borne"
    else:
        text = f"bears {low:g} to {high:g} times"
        if not pd.isna(value_low) and not pd.isna(value_high):
            text += f" ({min(value_low, value_high):g} to {max(value_low, value_high):g})"
    for verdict in (SUFFERS, UNDECIDED):
        factors = [f"{factor:g}" for factor in arm.loc[arm["verdict"] == verdict, "factor"]]
        if factors:
            text += f"; {verdict} at {listed(factors)}"
    return text
