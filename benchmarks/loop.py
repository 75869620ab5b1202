"""The training loop beside a bare PyTorch loop of the same networks, batch and losses.

    python -m benchmarks.loop [--threads 1] [--rounds 20]

Two workloads: `dcgan` on Fashion-MNIST at 32x32 (width 32, batch 64, non-saturating loss) and a small
`mlp` on the digits (8x8, width 128, depth 3). Two bare loops, with `torch.optim.Adam(...)` as one
writes it, an EMA in a plain loop over the parameters, no checks and nothing recorded but the losses:

- `tutorial`: as PyTorch's DCGAN tutorial has it, and as our trainer does: the fakes of the
  discriminator's update serve the generator's too (whose backward pass fills the discriminator's
  gradients for nothing in the tutorial, and not in ours);
- `fresh fakes`: as in Goodfellow et al. 2014, algorithm 1: one more pass through the generator.

All start from the same weights, hold the same uint8 images in memory and take random batches. They
take turns in blocks of about a second; a ratio is our speed over the bare loop's in one round, the
table shows medians and quartiles. On one thread the clock is the processor time of this process, which
other processes on the machine disturb little; on more it is the wall's. `with reports` adds what a
study does at each report: evaluation of 1,000 samples (feature classifier, Frechet distance,
diversity), gradient norms and the health rules; the bare loop has no counterpart to that.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits as cross_entropy

from gansearch.data.images import ImageData
from gansearch.data.load import load
from gansearch.study.config import TrialConfig
from gansearch.training.building import build_discriminator, build_generator
from gansearch.training.completion import complete
from gansearch.training.prepare import LocalPaths, prepare
from gansearch.training.trainer import Trainer

FOREVER = 10**7


@dataclass(frozen=True)
class Workload:
    """What is trained, and for how many steps at a time.

    Attributes:
        name: a row of the table.
        tree: its configuration.
        block: steps between two turns.
        report_every: as the studies of this size have it.
    """

    name: str
    tree: dict[str, Any]
    block: int
    report_every: int


WORKLOADS = [
    Workload(
        "dcgan 32x32, width 32",
        {
            "data": {"name": "fashion-mnist", "image_size": 32},
            "generator": {"name": "dcgan", "width": 32},
            "discriminator": {"name": "dcgan", "width": 32},
        },
        block=15,
        report_every=200,
    ),
    Workload(
        "mlp 8x8, width 128",
        {
            "data": {"name": "digits"},
            "generator": {"name": "mlp", "width": 128},
            "discriminator": {"name": "mlp", "width": 128},
        },
        block=300,
        report_every=100,
    ),
]


class BareLoop:
    """A GAN training loop as one writes it by hand."""

    def __init__(self, config: TrialConfig, data: ImageData, *, reuse_fakes: bool) -> None:
        self.images = torch.from_numpy(data.images)
        self.batch, self.latent, self.reuse_fakes = config.batch_size, config.latent_size, reuse_fakes
        device = torch.device("cpu")
        torch.manual_seed(config.seed)
        self.generator = build_generator(config, data.domain, device)
        self.discriminator = build_discriminator(config, data.domain, device)
        self.average = [p.detach().clone() for p in self.generator.parameters()]
        self.g_optimizer = _adam(self.generator)
        self.d_optimizer = _adam(self.discriminator)
        self.losses: list[tuple[float, float]] = []

    def train(self, steps: int) -> None:
        ones, zeros = torch.ones(self.batch), torch.zeros(self.batch)
        for _ in range(steps):
            index = torch.randint(len(self.images), (self.batch,))
            real = self.images[index].float() / 127.5 - 1

            fake = self._generate() if self.reuse_fakes else self._generate_without_graph()
            self.d_optimizer.zero_grad()
            d_loss = cross_entropy(self.discriminator(real), ones)
            d_loss = d_loss + cross_entropy(self.discriminator(fake.detach()), zeros)
            d_loss.backward()
            self.d_optimizer.step()

            if not self.reuse_fakes:
                fake = self._generate()
            self.g_optimizer.zero_grad()
            g_loss = cross_entropy(self.discriminator(fake), ones)
            g_loss.backward()
            self.g_optimizer.step()

            with torch.no_grad():
                for average, weight in zip(self.average, self.generator.parameters(), strict=True):
                    average.mul_(0.999).add_(weight, alpha=0.001)
        self.losses.append((d_loss.item(), g_loss.item()))

    def _generate(self) -> Tensor:
        images: Tensor = self.generator(torch.randn(self.batch, self.latent))
        return images

    @torch.no_grad()
    def _generate_without_graph(self) -> Tensor:
        return self._generate()


def _adam(network: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.Adam(network.parameters(), lr=2e-4, betas=(0.5, 0.999))


def configure(workload: Workload, steps: int, report_every: int) -> TrialConfig:
    budget = {"steps": steps, "report_every": report_every}
    config, mistakes = complete(TrialConfig.model_validate(workload.tree | {"budget": budget}), None)
    if mistakes:
        raise ValueError(f"{workload.name}: {mistakes}")
    return config


def contestants(workload: Workload) -> dict[str, tuple[Callable[[], Any], int]]:
    """Name -> a block of training, and its steps."""
    quiet = configure(workload, FOREVER, FOREVER)
    part = quiet.data
    places = LocalPaths.of_environment()
    data = load(part.name, part.options, root=places.data, split="train", image_size=part.image_size)
    if not isinstance(data, ImageData):
        raise ValueError(f"{workload.name}: the loop by hand is one of images")
    reference = prepare(quiet, data, places)
    silent = Trainer(quiet, data, reference)
    reporting = Trainer(configure(workload, FOREVER, workload.report_every), data, reference)
    tutorial = BareLoop(quiet, data, reuse_fakes=True)
    fresh = BareLoop(quiet, data, reuse_fakes=False)
    block = workload.block
    return {
        "tutorial": (lambda: tutorial.train(block), block),
        "fresh fakes": (lambda: fresh.train(block), block),
        "ours": (lambda: silent._train_to(silent.step + block), block),
        "ours, with reports": (reporting.advance, workload.report_every),
    }


def measure(workload: Workload, rounds: int, clock: Callable[[], float]) -> dict[str, list[float]]:
    """Name -> steps a second in each round."""
    speeds: dict[str, list[float]] = {}
    entries = list(contestants(workload).items())
    for number in range(rounds + 1):
        for name, (train, steps) in entries if number % 2 else reversed(entries):
            begun = clock()
            train()
            if number:  # the first round warms up
                speeds.setdefault(name, []).append(steps / (clock() - begun))
    return speeds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=20)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    clock = time.process_time if args.threads == 1 else time.perf_counter
    print(f"{args.threads} thread(s), medians (quartiles) of {args.rounds} rounds\n")
    print("| workload | loop | steps/s | ours / tutorial | ours / fresh fakes |")
    print("|---|---|---|---|---|")
    for workload in WORKLOADS:
        speeds = measure(workload, args.rounds, clock)
        for name, values in speeds.items():
            ratios = [""] * 2
            if name.startswith("ours"):
                bare = (speeds["tutorial"], speeds["fresh fakes"])
                ratios = [_spread([a / b for a, b in zip(values, s, strict=True)]) for s in bare]
            rate = f"{statistics.median(values):.1f}"
            print(f"| {workload.name} | {name} | {rate} | {' | '.join(ratios)} |", flush=True)


def _spread(values: list[float]) -> str:
    low, middle, high = statistics.quantiles(values, n=4)
    return f"{middle:.3f} ({low:.3f}-{high:.3f})"


if __name__ == "__main__":
    main()
