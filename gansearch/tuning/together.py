"""How many trials each worker carries, and which of them are trained as one: `resources.lanes`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from gansearch.study.config import TrialConfig
from gansearch.study.plan import Resources
from gansearch.study.roster import Roster


def together(
    resources: Resources,
    roster: Roster,
    data: Any,
    reference: Any,
    cache: Path,
    workers: int,
    console: Console,
) -> tuple[int, dict[str, int] | None]:
    """Trials to a worker at most; and shape -> in how many lanes it is fastest, None: not measured.

    With `auto` the trials of a search are carried one at a time, for what is proposed next depends on
    those before. Those of a stability study are known: they are carried as is fastest, which on a CPU
    is one at a time where it is compiled.

    Args:
        resources: of a worker.
        roster: what is trained on fresh seeds; empty for a search.
        data: reference to the training samples in the object store.
        reference: to the real side of the metrics there.
        cache: where what is measured is kept, on the node that measures.
        workers: how many there may be.
        console: where it is told.
    """
    if resources.lanes != "auto":
        return resources.lanes, None
    if not roster.entries or (resources.compile and not resources.gpus):
        return 1, {}
    configs = [TrialConfig.model_validate(candidate.config) for candidate in roster.candidates]
    chosen = _measured(resources, configs, data, reference, cache)
    most = math.ceil(len(roster.entries) / max(workers, 1))
    lanes = min(max(chosen.values(), default=1), most)
    if lanes > 1:
        text = f"up to {lanes} trials of one architecture are trained as one (resources.lanes: auto)"
        console.print(text, style="dim", highlight=False)
    return lanes, chosen


def _measured(
    resources: Resources, configs: Sequence[TrialConfig], data: Any, reference: Any, cache: Path
) -> dict[str, int]:
    """What `choose` finds, on a node that has what a worker needs."""
    import ray  # noqa: PLC0415  only where there is something to measure

    from gansearch.training.stacked.choice import choose  # noqa: PLC0415  loads torch

    device = "cuda" if resources.gpus else "cpu"
    task = ray.remote(num_cpus=resources.cpus, num_gpus=resources.gpus)(choose)
    threads = resources.cpus
    measured = task.remote(configs, data, reference, cache=cache, device=device, threads=threads)
    chosen: dict[str, int] = ray.get(measured)
    return chosen
