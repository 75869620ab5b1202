"""Does packing keep modes, as PacGAN's table 1 says, on the ring and the grid of Gaussians?

    python -m benchmarks.packing [--seeds 10] [--steps 5000] [--data ring grid] [--packs 1 4]

Lin et al. 2018 (arXiv 1712.04086), table 1: of the ring's 8 modes a GAN finds 6.3 +- 0.5 and one whose
discriminator judges packs of four 7.8 +- 0.1; of the grid's 25, 17.3 +- 0.8 and 24.8 +- 0.2 (means and
standard errors over ten trainings). Counted as there: of 2,500 samples those within three standard
deviations of a mode's centre are of high quality, and a mode is found with one of them.

As there: four hidden layers with batch norm in the generator and three without in the discriminator,
two latents, batches of 100, Adam. What differs, since two cores have no time for 400 epochs of it:
the widths (400 and 200 there), leaky ReLUs for maxout in the discriminator, and the steps. So it is
the order and the distance that are to be compared, not the numbers.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import torch

from gansearch.data.load import load
from gansearch.study.config import TrialConfig
from gansearch.training.prepare import LocalPaths, prepare
from gansearch.training.trainer import Trainer
from gansearch.training.validation import complete

PUBLISHED = {
    ("ring", 1): "6.3 +- 0.5",
    ("ring", 4): "7.8 +- 0.1",
    ("grid", 1): "17.3 +- 0.8",
    ("grid", 4): "24.8 +- 0.2",
}


def tree(data: str, pack: int, steps: int, width: int, seed: int) -> dict[str, object]:
    return {
        "data": data,
        "generator": {"name": "mlp", "depth": 4, "width": width, "norm": "batch"},
        "discriminator": {"name": "mlp", "depth": 3, "width": width, "norm": "none", "pack": pack},
        "loss": "non-saturating",
        "optimizer": {side: {"lr": 2e-4, "beta1": 0.5} for side in ("generator", "discriminator")},
        "latent_size": 2,
        "batch_size": 100,
        "ema": None,
        "budget": {"steps": steps, "report_every": steps},
        "evaluation": {"metrics": ["modes", "high_quality", "reverse_kl"], "samples": 2500},
        "objective": {"metric": "modes"},
        "health": {"diverged": False, "collapsed": False, "stalled": False},
        "seed": seed,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--steps", type=int, default=5000)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--data", nargs="+", default=["ring", "grid"])
    parser.add_argument("--packs", nargs="+", type=int, default=[1, 4])
    args = parser.parse_args()
    torch.set_num_threads(1)
    said = f"{args.steps} steps, width {args.width}, {args.seeds} seeds"
    print(f"{said}: mean +- standard error (seconds of a training)")
    print("| data | pack | modes | high quality | reverse KL | published modes | s |")
    print("|---|---|---|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        places = LocalPaths(Path(folder), Path(folder))
        for name in args.data:
            data = load(name, {}, root=Path(folder), split="train")
            for pack in args.packs:
                found: dict[str, list[float]] = {"modes": [], "high_quality": [], "reverse_kl": []}
                begun = time.process_time()
                for seed in range(args.seeds):
                    wanted = tree(name, pack, args.steps, args.width, seed)
                    config, wrong = complete(TrialConfig.model_validate(wanted), data.domain)
                    assert not wrong, wrong
                    trainer = Trainer(config, data, prepare(config, data, places))
                    report = trainer.advance()
                    for metric, values in found.items():
                        values.append(report.metrics[metric])
                cells = " | ".join(_spread(values) for values in found.values())
                seconds = (time.process_time() - begun) / args.seeds
                told = PUBLISHED.get((name, pack), "")
                print(f"| {name} | {pack} | {cells} | {told} | {seconds:.0f} |", flush=True)


def _spread(values: list[float]) -> str:
    error = statistics.stdev(values) / len(values) ** 0.5 if len(values) > 1 else 0.0
    return f"{statistics.fmean(values):.2f} +- {error:.2f}"


if __name__ == "__main__":
    main()
