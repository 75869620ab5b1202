"""Each network's training step beside the plainest PyTorch loop of the same network, what laziness
saves, and what an evaluation costs.

    python -m benchmarks.networks [--rounds 9] [--size 32] [--width 16] [--batch 32] [--only NAME ...]

The bare loop is that of `benchmarks.loop` (`tutorial`: no checks, nothing recorded), with the same
networks, batch and loss; both hold the same random images, start from the same weights and take
turns. On one thread the clock is the processor time of this process, which other processes disturb
little. The ratio is our speed over the other's in one round: medians and quartiles.

torch-mimicry's steps are its own, `train_step` of each network, with its SN-GAN of this width, the
paper's `resnet` as ours is; it has no `sndcgan`. Its column is empty where it is not found (`pip
install --no-deps --target DIR torch-mimicry`, and DIR on PYTHONPATH; its logging, which needs more
packages, is not loaded). `bfloat16` is our step in that precision, `channels_last` the bare loop with
both networks laid out so, each over the same without. The penalty's columns are our steps with R1 at
every update and at every sixteenth, over those without: what a step costs. An evaluation is what a
report adds to the steps before it: 1,000 samples, `fd_classifier` and what every report is measured by
(`diversity`, `reach`); it is told in steps.
"""

from __future__ import annotations

import argparse
import importlib.util
import statistics
import sys
import tempfile
import time
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.loop import BareLoop
from gansearch.data.images import ImageData
from gansearch.metrics.reference import Evaluator
from gansearch.study.config import TrialConfig
from gansearch.training.completion import complete
from gansearch.training.prepare import LocalPaths, prepare
from gansearch.training.trainer import Trainer

FOREVER = 10**7
EVALUATED = 1000
"""Samples of an evaluation."""

NETWORKS = ("mlp", "dcgan", "sndcgan", "resnet", "r3")


def images(size: int) -> ImageData:
    pixels = np.random.default_rng(0).integers(0, 256, (512, 3, size, size), dtype=np.uint8)
    return ImageData("noise", "train", pixels, np.arange(len(pixels)) % 10, 10)


def configure(
    name: str, args: argparse.Namespace, data: ImageData, penalty: Any = None, **more: Any
) -> TrialConfig:
    network = {"name": name, "width": args.width}
    tree: dict[str, Any] = {
        "generator": network,
        "discriminator": network,
        "batch_size": args.batch,
        "loss": {"name": "non-saturating", "penalty": penalty},
        "budget": {"steps": FOREVER, "report_every": FOREVER},
        "evaluation": {"metrics": [], "samples": 10},
        "objective": {"metric": "g_loss", "goal": "min"},
    } | more
    config, wrong = complete(TrialConfig.model_validate(tree), data.domain)
    assert not wrong, wrong
    return config


class Mimicry:
    """torch-mimicry's own training steps of its SN-GAN, one of each network."""

    def __init__(self, config: TrialConfig, data: ImageData, width: int) -> None:
        sngan = _sngan()
        self.images, self.batch = torch.from_numpy(data.images), config.batch_size
        self.generator = sngan.SNGANGenerator32(nz=config.latent_size, ngf=width, loss_type="ns")
        self.discriminator = sngan.SNGANDiscriminator32(ndf=width, loss_type="ns")
        self._optimizers = [
            torch.optim.Adam(network.parameters(), lr=2e-4, betas=(0.5, 0.999))
            for network in (self.generator, self.discriminator)
        ]

    def train(self, steps: int) -> None:
        of_generator, of_discriminator = self._optimizers
        for _ in range(steps):
            index = torch.randint(len(self.images), (self.batch,))
            real = self.images[index].float() / 127.5 - 1, None
            device = real[0].device
            self.discriminator.train_step(real, self.generator, of_discriminator, _NoLog, device)
            self.generator.train_step(real, self.discriminator, of_generator, _NoLog, device)


class _NoLog:
    @staticmethod
    def add_metric(name: str, value: Any, group: str) -> None:
        """Keep nothing."""


def _sngan() -> Any:
    """Its module of 32 x 32 networks, without what its packages load besides."""
    spec = importlib.util.find_spec("torch_mimicry")
    assert spec is not None
    (root,) = spec.submodule_search_locations or []
    for name in ("", ".nets", ".nets.sngan", ".nets.gan", ".nets.basemodel"):
        package = types.ModuleType(f"torch_mimicry{name}")
        package.__path__ = [str(Path(root, *name.split(".")))]
        sys.modules[f"torch_mimicry{name}"] = package
    return importlib.import_module("torch_mimicry.nets.sngan.sngan_32")


def contestants(
    name: str, args: argparse.Namespace, data: ImageData, places: LocalPaths
) -> dict[str, Callable[[int], None]]:
    """Each takes a number of steps."""

    def ours(config: TrialConfig) -> Callable[[int], None]:
        trainer = Trainer(config, data, prepare(config, data, places))

        def train(steps: int) -> None:
            trainer._train_to(trainer.step + steps)
            trainer.step = trainer.step // 16 * 16  # each block has its share of lazy penalties

        return train

    def evaluation() -> Callable[[int], None]:
        measured = {"metrics": [{"name": "fd_classifier"}], "samples": EVALUATED}
        config = configure(name, args, data, evaluation=measured)
        reference = prepare(config, data, places)
        trainer, evaluator = Trainer(config, data, reference), Evaluator(reference)

        def evaluate(_: int) -> None:
            evaluator.evaluate(trainer.generate(EVALUATED, 0))

        return evaluate

    plain, r1 = configure(name, args, data), {"name": "r1", "weight": 0.1}
    laid_out = BareLoop(plain, data, reuse_fakes=True)
    for network in (laid_out.generator, laid_out.discriminator):
        network.to(memory_format=torch.channels_last)
    found = {
        "bare": BareLoop(plain, data, reuse_fakes=True).train,
        "ours": ours(plain),
        "channels_last": laid_out.train,
        "bfloat16": ours(configure(name, args, data, precision="bfloat16")),
        "r1": ours(configure(name, args, data, r1)),
        "r1 lazily": ours(configure(name, args, data, r1 | {"every": 16})),
        "evaluation": evaluation(),
    }
    if name == "resnet" and args.size == 32 and importlib.util.find_spec("torch_mimicry"):
        found["mimicry"] = Mimicry(plain, data, args.width).train
    return found


def measure(
    entries: dict[str, Callable[[int], None]], rounds: int, block: int
) -> dict[str, list[float]]:
    """Name -> seconds a step in each round; they take turns, in one order and in the other."""
    found: dict[str, list[float]] = {name: [] for name in entries}
    for number in range(rounds + 1):
        order = list(entries.items())
        for name, train in order if number % 2 else reversed(order):
            begun = time.process_time()
            train(block)
            if number:  # the first round warms up
                found[name].append((time.process_time() - begun) / block)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--width", type=int, default=16)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--block", type=int, default=16, help="steps of a turn, a multiple of 16")
    parser.add_argument("--only", nargs="+", default=list(NETWORKS))
    args = parser.parse_args()
    torch.set_num_threads(1)
    data = images(args.size)
    size = f"{args.size}x{args.size}, width {args.width}, batch {args.batch}"
    print(f"{size}, {args.rounds} rounds: medians (quartiles)\n")
    heads = ["network", "ours, ms a step", "ours / bare", "ours / mimicry"]
    heads += ["bfloat16", "channels_last", "R1: cost of a step", "R1, every 16th"]
    heads += ["an evaluation, in steps"]
    print(f"| {' | '.join(heads)} |\n|{'---|' * len(heads)}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        places = LocalPaths(Path(folder), Path(folder))
        for name in args.only:
            found = measure(contestants(name, args, data, places), args.rounds, args.block)
            cells = [
                f"{1000 * statistics.median(found['ours']):.1f}",
                _ratio(found["bare"], found["ours"]),
                _ratio(found["mimicry"], found["ours"]) if "mimicry" in found else "",
                _ratio(found["ours"], found["bfloat16"]),
                _ratio(found["bare"], found["channels_last"]),
                _ratio(found["r1"], found["ours"]),
                _ratio(found["r1 lazily"], found["ours"]),
                _ratio([each * args.block for each in found["evaluation"]], found["ours"]),
            ]
            print(f"| {name} | {' | '.join(cells)} |", flush=True)


def _ratio(above: list[float], below: list[float]) -> str:
    low, middle, high = statistics.quantiles([a / b for a, b in zip(above, below, strict=True)], n=4)
    return f"{middle:.3f} ({low:.3f}-{high:.3f})"


if __name__ == "__main__":
    main()
