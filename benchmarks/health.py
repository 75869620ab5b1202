"""Do the health rules leave healthy trainings alone, and name what is wrong with the others?

    python -m benchmarks.health [--steps 1000] [--width 16] [--seeds 10] [--fault-seeds 3] [--jobs 2]

The default `dcgan` (non-saturating loss, spectral norm, Adam at 2e-4) on Fashion-MNIST at 32x32 and
every rule as it is by default, 20 reports in the budget: `--seeds` times untouched, none of which may
be stopped; then with faults, each of which must be stopped within 20 % of the budget, and by the
right name. `--more` adds other healthy trainings (every loss, Wasserstein with 5 critic steps and
gradient penalty, a small `mlp` on the digits, slow and fast learning rates). `--curves DIR` writes
every curve as JSON, to see what a changed threshold would do.

A study of this size trains 2,000 steps at width 32; the scale here is what two cores do in minutes.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from gansearch.study.config import TrialConfig

ALLOWED = 0.2
"""A fault is to be stopped within this share of the budget."""


@dataclass(frozen=True)
class Case:
    """One training and what is to become of it.

    Attributes:
        name: a row of the table.
        expected: the outcome.
        change: what differs from the base configuration.
        seed: of the training.
        digits: the base is the small `mlp` on the digits.
    """

    name: str
    expected: str
    change: dict[str, Any] = field(default_factory=dict)
    seed: int = 0
    digits: bool = False


def optimizers(generator: float = 2e-4, discriminator: float = 2e-4) -> dict[str, Any]:
    return {"optimizer": {"generator": {"lr": generator}, "discriminator": {"lr": discriminator}}}


FAULTS: list[tuple[str, str, dict[str, Any]]] = [
    ("generator's learning rate 10", "diverged", optimizers(generator=10.0)),
    ("discriminator's learning rate 10", "diverged", optimizers(discriminator=10.0)),
    ("both learning rates 10", "diverged", optimizers(10.0, 10.0)),
    (
        "a generator that ignores its noise",
        "collapsed",
        {"generator": {"name": "benchmarks.odd_parts:DeafGenerator"}},
    ),
    ("generator's learning rate 1e-8", "stalled", optimizers(generator=1e-8)),
]
LOSSES = ("minimax", "hinge", "least-squares", "wasserstein")
WGAN_GP = {
    "loss": {"name": "wasserstein", "penalty": {"name": "gradient-penalty", "weight": 10.0}},
    "discriminator": {"norm": "none"},
    "discriminator_steps": 5,
}


def cases(args: argparse.Namespace) -> Iterator[Case]:
    for seed in range(args.seeds):
        yield Case("healthy", "completed", seed=seed)
    for name, expected, change in FAULTS:
        for seed in range(args.fault_seeds):
            yield Case(name, expected, change, seed)
    if not args.more:
        return
    yield Case("slow: 50 discriminator steps", "completed", {"discriminator_steps": 50})
    for digits in (False, True):
        where = "digits, mlp: " if digits else "healthy: "
        for loss in LOSSES:
            yield Case(where + loss, "completed", {"loss": {"name": loss}}, digits=digits)
        yield Case(where + "wgan-gp, 5 steps", "completed", WGAN_GP, digits=digits)
        for norm in ("none", "batch"):
            yield Case(
                f"{where}norm {norm}", "completed", {"discriminator": {"norm": norm}}, digits=digits
            )
        yield Case(where + "generator slow, 2e-5", "completed", optimizers(2e-5), digits=digits)
        yield Case(where + "both fast, 1e-3", "completed", optimizers(1e-3, 1e-3), digits=digits)


def configure(case: Case, steps: int, width: int) -> TrialConfig:
    from gansearch.training.completion import complete  # noqa: PLC0415

    data = {"name": "digits"} if case.digits else {"name": "fashion-mnist", "image_size": 32}
    network = {"name": "mlp", "width": 128} if case.digits else {"name": "dcgan", "width": width}
    tree: dict[str, Any] = {
        "data": data,
        "generator": network,
        "discriminator": network,
        "budget": {"steps": steps, "report_every": max(steps // 20, 1)},
        "evaluation": {"samples": 500},
        "seed": case.seed,
    }
    for key, value in case.change.items():
        both = isinstance(value, dict) and isinstance(tree.get(key), dict)
        tree[key] = tree[key] | value if both else value
    config, mistakes = complete(TrialConfig.model_validate(tree), None)
    if mistakes:
        raise ValueError(f"{case.name}: {mistakes}")
    return config


def train(job: tuple[Case, argparse.Namespace]) -> tuple[Case, float, str, str]:
    """A training: the case, the share of the budget at its end, the outcome, the reason."""
    import torch  # noqa: PLC0415

    from gansearch.data.load import load  # noqa: PLC0415
    from gansearch.training.prepare import LocalPaths, prepare  # noqa: PLC0415
    from gansearch.training.trainer import Trainer  # noqa: PLC0415

    case, args = job
    torch.set_num_threads(1)
    config, places = configure(case, args.steps, args.width), LocalPaths.of_environment()
    part = config.data
    data = load(part.name, part.options, root=places.data, split="train", image_size=part.image_size)
    trainer = Trainer(config, data, prepare(config, data, places))
    while not trainer.finished:
        trainer.advance()
    last = trainer.reports[-1]
    if args.curves:
        args.curves.mkdir(parents=True, exist_ok=True)
        curve = {"case": asdict(case), "reports": [asdict(report) for report in trainer.reports]}
        file = f"{case.name}-{case.seed}.json".replace(" ", "_").replace("'", "").replace(":", "")
        (args.curves / file).write_text(json.dumps(curve))
    return case, last.step / args.steps, str(last.outcome), last.reason


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=1000, help="the budget")
    parser.add_argument("--width", type=int, default=16)
    parser.add_argument("--seeds", type=int, default=10, help="healthy trainings")
    parser.add_argument("--fault-seeds", type=int, default=3, help="trainings of each fault")
    parser.add_argument("--more", action="store_true", help="other healthy trainings too")
    parser.add_argument("--jobs", type=int, default=2, help="trainings at once, one thread each")
    parser.add_argument("--curves", type=Path, help="a folder for every curve")
    args = parser.parse_args()
    print(
        "| training | seed | expected | outcome | at share of the budget | as it should be | reason |"
    )
    print("|---|---|---|---|---|---|---|", flush=True)
    wrong = 0
    jobs = [(case, args) for case in cases(args)]
    with multiprocessing.get_context("spawn").Pool(args.jobs) as pool:
        for case, share, outcome, reason in pool.imap(train, jobs):
            late = case.expected != "completed" and share > ALLOWED
            good = outcome == case.expected and not late
            wrong += not good
            cells = (case.name, case.seed, case.expected, outcome, f"{share:.0%}", good, reason)
            print(f"| {' | '.join(map(str, cells))} |", flush=True)
    print(f"\n{len(jobs) - wrong} of {len(jobs)} as they should be")


if __name__ == "__main__":
    main()
