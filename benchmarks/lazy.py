"""Does a lazy penalty change anything but the time? The last values over seeds, and what a step costs.

    python -m benchmarks.lazy [--seeds 20] [--steps 1500] [--every 1 4 16]

A small non-saturating GAN on the ring with R1, at every update and at every few with StyleGAN2's
correction, and without it at all, which shows that the test would see a difference. The seeds of one
arm train as one (`gansearch.training.stacked`). Beside each arm's median and quartiles stands how it
compares with the first: the chance that one of its trainings ends lower (0.5: neither does), and the
p-values of Mann and Whitney's rank test and of Kolmogorov and Smirnov's of the whole distribution.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import ks_2samp, mannwhitneyu

from gansearch.data.load import load
from gansearch.study.config import TrialConfig
from gansearch.training.completion import complete
from gansearch.training.prepare import LocalPaths, prepare
from gansearch.training.stacked.step import Lanes
from gansearch.training.trainer import Trainer

METRICS = {"fd_raw": "min", "mode_overlap": "max"}


def tree(every: int | None, steps: int) -> dict[str, Any]:
    """A training's configuration; `every` None: without the penalty."""
    network = {"name": "mlp", "depth": 2, "width": 64, "norm": "none"}
    optimizer = {"lr": 2e-3, "beta1": 0.5}
    penalty = None if every is None else {"name": "r1", "weight": 0.1, "every": every}
    return {
        "data": {"name": "ring"},
        "generator": network,
        "discriminator": network,
        "loss": {"name": "non-saturating", "penalty": penalty},
        "optimizer": {"generator": optimizer, "discriminator": optimizer},
        "latent_size": 2,
        "batch_size": 64,
        "budget": {"steps": steps, "report_every": steps},
        "evaluation": {"metrics": [*METRICS], "samples": 2500, "real_samples": 5000},
        "objective": {"metric": "fd_raw", "goal": "min"},
        "health": {"diverged": False, "collapsed": False, "stalled": False},
    }


def arm(every: int | None, seeds: int, steps: int) -> tuple[dict[str, np.ndarray], float]:
    """The last values of each metric, one a seed, and the processor seconds of a training's step."""
    places = LocalPaths.of_environment()
    data = load("ring", {}, root=Path("none"), split="train", image_size=None)
    configs = []
    for seed in range(seeds):
        whole = TrialConfig.model_validate(tree(every, steps) | {"seed": seed})
        config, mistakes = complete(whole, data.domain)
        assert not mistakes, mistakes
        configs.append(config)
    reference = prepare(configs[0], data, places)
    trainers = [Trainer(config, data, reference) for config in configs]
    lanes = Lanes(trainers)
    begun = time.process_time()
    due = lanes.train()
    seconds = (time.process_time() - begun) / steps / seeds
    reports = [lanes.report(number) for number in due]
    found = {name: np.array([report.metrics[name] for report in reports]) for name in METRICS}
    return found, seconds


def compared(ours: np.ndarray, first: np.ndarray) -> str:
    """The chance of a lower value, and the p-values of the two tests."""
    rank = mannwhitneyu(first, ours)
    lower = rank.statistic / len(first) / len(ours)
    return f"{lower:.2f}, p {rank.pvalue:.2g}, {ks_2samp(first, ours).pvalue:.2g}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--every", type=int, nargs="+", default=[1, 4, 16])
    args = parser.parse_args()
    torch.set_num_threads(1)
    print(f"| R1 | ms a step | {' | '.join(f'{m} | lower than the first, p' for m in METRICS)} |")
    print("|---|---|" + "---|---|" * len(METRICS))
    first: dict[str, np.ndarray] | None = None
    for every in [*args.every, None]:
        found, seconds = arm(every, args.seeds, args.steps)
        first = found if first is None else first
        cells = ["never" if every is None else f"every {every}", f"{1000 * seconds:.2f}"]
        for name, values in found.items():
            low, middle, high = np.quantile(values, (0.25, 0.5, 0.75))
            cells.append(f"{middle:.3g} [{low:.3g}, {high:.3g}]")
            cells.append("" if found is first else compared(values, first[name]))
        print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
