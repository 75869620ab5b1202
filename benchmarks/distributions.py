"""Whole trainings in lanes, or compiled, beside alone: distributions of the final metric.

    python -m benchmarks.distributions [--seeds 20] [--steps 300] [--compiled] [--only NAME ...]

Rounding grows over thousands of steps, so that a training in lanes ends elsewhere than alone, as on
another processor. Here each way trains the same seeds to their ends, on the digits, for three losses
and for each penalty that stacks; the last report's Frechet distance is compared by a two-sample
Kolmogorov-Smirnov test and by Mann and Whitney's. Distributions count as distinguishable where the
smaller of the two p-values, times two, is below 1 %.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable, Sequence
from typing import Any

import torch
from scipy.stats import ks_2samp, mannwhitneyu

from gansearch.data.load import load
from gansearch.losses import PENALTIES
from gansearch.study.config import TrialConfig
from gansearch.training.compiled.step import CompiledLanes
from gansearch.training.completion import complete
from gansearch.training.pack import SequentialPack, Start
from gansearch.training.prepare import LocalPaths, prepare
from gansearch.training.stacked.pack import FusedPack
from gansearch.training.stacked.shape import why_alone
from gansearch.training.trainer import Trainer

LEVEL = 0.01
KIT: dict[str, Any] = {
    "loss": {"name": "hinge", "penalty": {"name": "r1", "every": 4, "schedule": "cosine"}},
    "optimizer": {
        "generator": {"schedule": {"name": "cosine", "warmup": 0.1}},
        "discriminator": {"schedule": "linear", "clip": 1.0},
    },
}
SHOWN = {"augment": "ada", "noise": {"std": 0.2, "schedule": "linear"}, "norm": "none"}
PACKED = 10
"""Trainings in a pack."""

MLP = {"name": "mlp", "depth": 2, "width": 32}
NORMLESS = MLP | {"norm": "none"}
CASES: dict[str, dict[str, Any]] = {
    "mlp, non-saturating": {"loss": {"name": "non-saturating"}},
    "mlp, hinge": {"loss": {"name": "hinge"}},
    "mlp, least squares": {"loss": {"name": "least-squares"}},
    **{
        f"mlp, hinge, {name}": {
            "loss": {"name": "hinge", "penalty": {"name": name}},
            "discriminator": NORMLESS,
        }
        for name in PENALTIES.names
    },
    "mlp, lazy r1, schedules, clip, ada, noise": KIT | {"discriminator": MLP | SHOWN},
    "dcgan, lazy r1, schedules, clip, ada, noise": KIT
    | {
        "generator": {"name": "dcgan", "width": 8},
        "discriminator": {"name": "dcgan", "width": 8, **SHOWN},
    },
    **{
        f"dcgan, {loss}": {
            "loss": {"name": loss},
            "generator": {"name": "dcgan", "width": 8},
            "discriminator": {"name": "dcgan", "width": 8},
        }
        for loss in ("non-saturating", "hinge", "least-squares")
    },
    **{
        f"dcgan, hinge, {name}": {
            "loss": {"name": "hinge", "penalty": {"name": name}},
            "generator": {"name": "dcgan", "width": 8},
            "discriminator": {"name": "dcgan", "width": 8, "norm": "none"},
        }
        for name in PENALTIES.names
    },
}


def configuration(case: str, steps: int, seed: int) -> TrialConfig:
    """One training of a case."""
    tree = {
        "data": {"name": "digits"},
        "generator": MLP,
        "discriminator": MLP,
        "batch_size": 32,
        "latent_size": 16,
        "unsound": "allow",
        "budget": {"steps": steps, "report_every": steps},
        "evaluation": {"samples": 500, "metrics": [{"name": "fd_classifier"}]},
        "health": {"diverged": False, "collapsed": False, "stalled": False},
        "seed": seed,
    }
    config, mistakes = complete(TrialConfig.model_validate(tree | CASES[case]), None)
    if mistakes:
        raise ValueError(f"{case}: {mistakes}")
    return config


def finals(case: str, steps: int, seeds: int, how: str) -> list[float]:
    """The last report's distance of each seed, trained `alone`, in `lanes`, or `compiled`."""
    configs = [configuration(case, steps, seed) for seed in range(seeds)]
    places = LocalPaths.of_environment()
    data = load("digits", {}, root=places.data, split="train")
    reference = prepare(configs[0], data, places)

    def make(config: TrialConfig) -> Trainer:
        return Trainer(config, data, reference)

    if how == "compiled":
        return [_compiled(make(config), places) for config in configs]
    packs: dict[str, Callable[[], Any]] = {
        "alone": lambda: SequentialPack(make),
        "lanes": lambda: FusedPack(make),
    }
    found: dict[int, float] = {}
    for first in range(0, seeds, PACKED):
        pack = packs[how]()
        pack.begin([Start(n, config) for n, config in enumerate(configs)][first : first + PACKED])
        while pack.due():
            for number, report in pack.advance():
                found[number] = report.metrics["fd_classifier"]
                pack.stop([number])
    return [found[number] for number in sorted(found)]


def _compiled(trainer: Trainer, places: LocalPaths) -> float:
    lanes = CompiledLanes([trainer], cache=places.cache / "compiled")
    lanes.train()
    return lanes.report(0).metrics["fd_classifier"]


def probability(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """Of so different samples, if both were of one distribution: of two tests, by Bonferroni."""
    tests = (ks_2samp(ours, theirs).pvalue, mannwhitneyu(ours, theirs).pvalue)
    return min(1.0, 2 * float(min(tests)))


def main() -> int:
    """Train, compare and print a table; returns how many cases are distinguishable."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--compiled", action="store_true", help="compiled in place of lanes")
    parser.add_argument("--only", nargs="*", choices=CASES, help="some of the cases")
    args = parser.parse_args()
    torch.set_num_threads(1)
    how = "compiled" if args.compiled else "lanes"
    print(f"{args.seeds} seeds each way, {args.steps} steps; torch {torch.__version__}\n")
    print(f"| what | alone, median | {how}, median | p | differ in any bit |\n|---|---|---|---|---|")
    distinguishable = 0
    for case in args.only or CASES:
        if not args.compiled and (reason := why_alone(configuration(case, args.steps, 0))):
            print(f"| {case} | | {reason} | | |", flush=True)
            continue
        theirs, ours = (finals(case, args.steps, args.seeds, way) for way in ("alone", how))
        p = probability(ours, theirs)
        distinguishable += p < LEVEL
        medians = " | ".join(f"{statistics.median(each):.3f}" for each in (theirs, ours))
        unlike = sum(a != b for a, b in zip(ours, theirs, strict=True))
        print(f"| {case} | {medians} | {p:.2f} | {unlike} of {args.seeds} |", flush=True)
    print(f"\n{distinguishable} distinguishable at {LEVEL:.0%}")
    return distinguishable


if __name__ == "__main__":
    raise SystemExit(main())
