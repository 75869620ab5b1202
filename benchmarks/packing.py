"""Does packing keep modes, as PacGAN's table 1 says, on the ring and the grid of Gaussians?

    python -m benchmarks.packing [--seeds 10] [--steps 20000] [--data ring grid] [--packs 1 4]

Lin et al. 2018 (arXiv 1712.04086), table 1: of the ring's 8 modes a GAN finds 6.3 +- 0.5 and one whose
discriminator judges packs of four 7.8 +- 0.1; of the grid's 25, 17.3 +- 0.8 and 24.8 +- 0.2 (means and
standard errors over ten trainings).

All is as in the authors' published code (fjxmlzn/PacGAN, synthetic_data_experiments): two normal
latents; a generator of four hidden layers of 400 units with batch norm and ReLU and without biases; a
discriminator of three maxout layers of 200 units, five pieces each; weights normal with 0.02; Adam at
1e-4 with beta1 0.8; batches of 100 packs; the non-saturating loss; coordinates as they are. Of 2,500
samples, made with batch norm's running statistics, those nearer than three standard deviations to a
mode's centre are of high quality, and a mode is found with one of them. Two things differ. They update
both networks at once, and here it is one after the other. They train 400 epochs of 100,000 packs, which
is `--steps 400000`: hours a training on a core. `--every` looks at a training as it goes.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from gansearch.data import DataSet
from gansearch.data.domain import Points
from gansearch.data.load import load
from gansearch.study.config import TrialConfig
from gansearch.study.records import Report
from gansearch.training.completion import complete
from gansearch.training.pack import Start
from gansearch.training.prepare import LocalPaths, prepare
from gansearch.training.stacked.pack import FusedPack
from gansearch.training.trainer import Trainer

PUBLISHED = {
    ("ring", 1): "6.3 +- 0.5",
    ("ring", 4): "7.8 +- 0.1",
    ("grid", 1): "17.3 +- 0.8",
    ("grid", 4): "24.8 +- 0.2",
}

COUNTED = ("modes", "high_quality", "reverse_kl")


class Generator(nn.Module):
    """Latents [B, 2] -> points [B, D]."""

    stacks = True

    def __init__(self, domain: Points, latent_size: int, *, width: int = 400) -> None:
        super().__init__()
        sizes = [latent_size, *[width] * 4]
        layers: list[nn.Module] = []
        for before, after in itertools.pairwise(sizes):
            layers += [
                nn.Linear(before, after, bias=False),
                nn.BatchNorm1d(after, momentum=0.05),
                nn.ReLU(),
            ]
        self.layers = nn.Sequential(*layers, nn.Linear(width, domain.shape[0]))
        self.scale = domain.scale
        _begin(self)

    def forward(self, latents: Tensor) -> Tensor:
        points: Tensor = self.layers(latents)
        return points / self.scale


class Maxout(nn.Module):
    """The largest of several linear layers, unit by unit (Goodfellow et al. 2013, arXiv 1302.4389)."""

    stacks = True

    def __init__(self, before: int, after: int, pieces: int) -> None:
        super().__init__()
        self.linear, self.shape = nn.Linear(before, after * pieces), (after, pieces)

    def forward(self, inputs: Tensor) -> Tensor:
        pieces: Tensor = self.linear(inputs).unflatten(-1, self.shape)
        return pieces.amax(-1)


class Discriminator(nn.Module):
    """Packs of points [B, D] -> logits [B]."""

    stacks = True

    def __init__(self, domain: Points, *, width: int = 200, pieces: int = 5) -> None:
        super().__init__()
        sizes = [*domain.shape, *[width] * 3]
        layers = [Maxout(before, after, pieces) for before, after in itertools.pairwise(sizes)]
        self.layers = nn.Sequential(*layers, nn.Linear(width, 1))
        self.scale = domain.scale
        _begin(self)

    def forward(self, points: Tensor) -> Tensor:
        logits: Tensor = self.layers(points * self.scale)
        return logits.squeeze(-1)


def _begin(network: nn.Module) -> None:
    if any(weight.is_meta for weight in network.parameters()):
        return
    for layer in network.modules():
        if isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, 0.0, 0.02)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def tree(data: str, pack: int, steps: int, every: int, seed: int) -> dict[str, object]:
    return {
        "data": data,
        "generator": {"name": f"{__spec__.name}:Generator"},
        "discriminator": {"name": f"{__spec__.name}:Discriminator", "pack": pack},
        "loss": "non-saturating",
        "optimizer": {side: {"lr": 1e-4, "beta1": 0.8} for side in ("generator", "discriminator")},
        "latent_size": 2,
        "batch_size": 100 * pack,
        "ema": None,
        "budget": {"steps": steps, "report_every": every},
        "evaluation": {"metrics": ["modes", "high_quality", "reverse_kl"], "samples": 2500},
        "objective": {"metric": "modes"},
        "health": {"diverged": False, "collapsed": False, "stalled": False},
        "seed": seed,
    }


def trained(
    trees: Sequence[dict[str, object]], data: DataSet, places: LocalPaths, what: str
) -> list[list[Report]]:
    """The reports of each training, told as they come; all are trained as one (`resources.lanes`)."""
    configs = []
    for wanted in trees:
        config, wrong = complete(TrialConfig.model_validate(wanted), data.domain)
        assert not wrong, wrong
        configs.append(config)
    reference = prepare(configs[0], data, places)
    reports: list[list[Report]] = [[] for _ in configs]
    pack = FusedPack(lambda config: Trainer(config, data, reference))
    pack.begin([Start(number, config) for number, config in enumerate(configs)])
    while pack.due():
        for number, told in pack.advance():
            found = ", ".join(f"{key} {told.metrics[key]:.3g}" for key in COUNTED)
            print(f"{what}, seed {configs[number].seed}, step {told.step}: {found}", flush=True)
            reports[number].append(told)
            if told.step == configs[number].budget.steps:
                pack.stop([number])
    return reports


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--steps", type=int, default=20_000)
    parser.add_argument("--every", type=int, help="steps between two looks; the steps, if not said")
    parser.add_argument("--data", nargs="+", default=["ring", "grid"])
    parser.add_argument("--packs", nargs="+", type=int, default=[1, 4])
    args = parser.parse_args()
    torch.set_num_threads(1)
    every = args.every or args.steps
    curves: dict[tuple[str, int], list[list[Report]]] = {}
    seconds: dict[tuple[str, int], float] = {}
    with tempfile.TemporaryDirectory() as folder:
        places = LocalPaths(Path(folder), Path(folder))
        for name in args.data:
            data = load(name, {}, root=Path(folder), split="train")
            for pack in args.packs:
                begun = time.process_time()
                wanted = [tree(name, pack, args.steps, every, seed) for seed in range(args.seeds)]
                curves[name, pack] = trained(wanted, data, places, f"{name}, packs of {pack}")
                seconds[name, pack] = time.process_time() - begun
    print(f"\n{args.steps:,} steps of 400,000, {args.seeds} seeds: mean +- standard error\n")
    print("| data | pack | step | modes | high quality | reverse KL | published modes | s a training |")
    print("|---|---|---|---|---|---|---|---|")
    for (name, pack), trainings in curves.items():
        each = seconds[name, pack] / args.seeds
        for reports in zip(*trainings, strict=True):
            cells = " | ".join(_spread([r.metrics[key] for r in reports]) for key in COUNTED)
            theirs = PUBLISHED.get((name, pack), "")
            print(f"| {name} | {pack} | {reports[0].step} | {cells} | {theirs} | {each:.0f} |")


def _spread(values: list[float]) -> str:
    error = statistics.stdev(values) / len(values) ** 0.5 if len(values) > 1 else 0.0
    return f"{statistics.fmean(values):.2f} +- {error:.2f}"


if __name__ == "__main__":
    main()
