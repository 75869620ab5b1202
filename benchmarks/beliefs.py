"""What a belief brings where it is right, and what it costs where it is wrong.

    OPENBLAS_NUM_THREADS=1 python -m benchmarks.beliefs [--seeds 20] [--samplers random tpe]

The made-up study of `benchmarks.search`, known in closed form: both learning rates, a loss and a depth.
The learning rates' axes carry defaults: near the optimum (`right`), or three decades from it, towards
less (`wrong`). Counted are the trials, and the steps that they took, until the best of those that
completed comes within a fifth of the optimum's value; a search that does not come there counts with
all of its own. Given is the median of each arm, and the mean ratio (geometric) to the same seed without
a belief, with its bootstrap 95 % interval; below 1 the belief helps. The target is at most 1.3 for
`strong` and `wrong`.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.search import LOSS_COSTS, Study, make_spec
from gansearch.study.axes import Float
from gansearch.study.records import Outcome
from gansearch.study.space import Space
from gansearch.study.spec import StudySpec

OPTIMUM = {"generator": 10 ** (-5 + 4 * 0.55), "discriminator": 10 ** (-5 + 4 * 0.3)}
WHERE = {
    "right": {side: 1.5 * rate for side, rate in OPTIMUM.items()},
    "wrong": {side: max(rate / 1000, 1e-5) for side, rate in OPTIMUM.items()},
}
REACHED = 1.2
"""The optimum's value is 1."""

ARMS = [("none", "right")] + [(b, w) for w in WHERE for b in ("weak", "medium", "strong")]


def believing(spec: StudySpec, belief: str, defaults: dict[str, float]) -> StudySpec:
    """The study with defaults on its learning rates' axes, which begins nowhere."""
    rates = {
        side: {**part, "lr": Float(1e-5, 1e-1, log=True, default=defaults[side])}
        for side, part in spec.space.tree["optimizer"].items()
    }
    sampler = spec.plan.search.sampler.model_copy(update={"belief": belief})
    search = spec.plan.search.model_copy(update={"sampler": sampler})
    plan = spec.plan.model_copy(update={"search": search})
    return replace(spec, plan=plan, space=Space(spec.space.tree | {"optimizer": rates}), start=())


def cost(spec: StudySpec) -> tuple[float, float]:
    """Trials and steps until the search has come near the optimum, or all of them."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        study = Study(spec, Path(folder) / "s", 1)
        steps = 0
        for number in range(spec.plan.search.trials):
            study.run(1)
            record = study.ledger.records[number]
            steps += record.step
            best = record.best("fd_classifier", "min")
            if record.outcome is Outcome.COMPLETED and best and best.value <= REACHED:
                break
        return number + 1, steps


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--samplers", nargs="+", default=["random", "tpe"])
    args = parser.parse_args()
    assert min(LOSS_COSTS.values()) == 0.0
    chance = np.random.default_rng(0)
    print("| sampler | belief | defaults | trials | steps | steps / without (95 % interval) |")
    print("|---|---|---|---|---|---|")
    for name in args.samplers:
        alone = np.empty(0)
        for belief, where in ARMS:
            costs: Any = []
            for seed in range(args.seeds):
                with tempfile.TemporaryDirectory() as folder:
                    spec = make_spec(Path(folder), name, args.trials, seed)
                costs.append(cost(believing(spec, belief, WHERE[where])))
            trials, steps = np.array(costs).T
            alone = alone if len(alone) else steps
            ratios = np.log(steps / alone)
            means = np.exp(chance.choice(ratios, (2000, len(ratios))).mean(1))
            low, high = np.quantile(means, [0.025, 0.975])
            ratio = f"{np.exp(ratios.mean()):.2f} ({low:.2f} to {high:.2f})"
            told = f"{np.median(trials):.0f} | {np.median(steps):,.0f} | {ratio}"
            print(f"| {name} | {belief} | {where} | {told} |", flush=True)


if __name__ == "__main__":
    main()
