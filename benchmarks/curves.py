"""Records curves of healthy trainings and of trainings that turn, for `benchmarks.collapse`.

    python -m benchmarks.curves OUT.jsonl [--jobs 2] [--seeds 2]

Small networks on the digits (8x8) and on Fashion-MNIST (16x16), without health rules, thirty
reports each. At each report the samples are measured on 1,000 images and on the first 100 of them (on
which a Frechet distance has a large constant bias), and once more with the live network's batch-norm
statistics in place of the averaged one's own. What is already in OUT is not trained again.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

KINDS = ("digits", "fashion", "digits-dcgan")
REPORTS = 30
FEW = 100
KEPT = (
    "fd_classifier",
    "is_classifier",
    "diversity",
    "d_loss",
    "g_loss",
    "d_grad_norm",
    "g_grad_norm",
    "d_error_real",
    "d_error_fake",
    "d_doubt",
)

Tree = dict[str, Any]


def rates(generator: float, discriminator: float | None = None, **more: Any) -> Tree:
    sides = {"generator": generator, "discriminator": discriminator or generator}
    return {"optimizer": {side: {"lr": lr} | more for side, lr in sides.items()}}


def loss(name: str, penalty: str | None = None, **options: Any) -> Tree:
    return {"loss": {"name": name} | ({"penalty": {"name": penalty} | options} if penalty else {})}


def unnormed(norm: str = "none") -> Tree:
    return {"discriminator": {"norm": norm}}


CHANGES: dict[str, Tree] = {
    "usual": {},
    "usual, rates 1e-3": rates(1e-3),
    "rates 5e-3": rates(5e-3),
    "rates 2e-2": rates(2e-2),
    "generator 5e-3": rates(5e-3, 2e-4),
    "discriminator 5e-3": rates(2e-4, 5e-3),
    "two rates 1e-4, 4e-4": rates(1e-4, 4e-4),
    "no norm": unnormed(),
    "no norm, rates 1e-3": unnormed() | rates(1e-3),
    "no norm, rates 5e-3": unnormed() | rates(5e-3),
    "no norm, momentum .9": unnormed() | rates(1e-3, beta1=0.9),
    "batch norm": unnormed("batch"),
    "batch norm, rates 2e-3": unnormed("batch") | rates(2e-3),
    "layer norm, rates 1e-3": unnormed("layer") | rates(1e-3),
    "minimax, no norm": loss("minimax") | unnormed() | rates(5e-4),
    "hinge": loss("hinge") | rates(5e-4),
    "hinge, no norm, rates 2e-3": loss("hinge") | unnormed() | rates(2e-3),
    "least squares": loss("least-squares") | rates(5e-4),
    "least squares, no norm, rates 2e-3": loss("least-squares") | unnormed() | rates(2e-3),
    "wasserstein alone": loss("wasserstein") | unnormed() | rates(5e-4),
    "wasserstein, spectral": loss("wasserstein") | rates(5e-4),
    "wgan-gp": loss("wasserstein", "gradient-penalty", weight=10.0)
    | unnormed()
    | rates(5e-4)
    | {"discriminator_steps": 3},
    "wgan-gp, weak": loss("wasserstein", "gradient-penalty", weight=0.1) | unnormed() | rates(2e-3),
    "r1": loss("non-saturating", "r1", weight=1.0) | unnormed() | rates(1e-3),
    "dragan": loss("non-saturating", "dragan", weight=10.0) | unnormed() | rates(1e-3),
    "five steps, no norm": unnormed() | rates(1e-3) | {"discriminator_steps": 5},
    "no average, rates 2e-3": {"ema": None} | rates(2e-3),
    "no average, no norm, rates 2e-3": {"ema": None} | unnormed() | rates(2e-3),
    "long average": {"ema": 0.9995} | unnormed() | rates(1e-3),
    "batches of 16, no norm": {"batch_size": 16} | unnormed() | rates(1e-3),
    "wasserstein alone, rates 1e-3": loss("wasserstein") | unnormed() | rates(1e-3),
    "wasserstein alone, rates 3e-3": loss("wasserstein") | unnormed() | rates(3e-3),
    "wasserstein alone, rates 2e-4": loss("wasserstein") | unnormed() | rates(2e-4),
    "wasserstein alone, five steps": loss("wasserstein")
    | unnormed()
    | rates(5e-4)
    | {"discriminator_steps": 5},
    "wasserstein alone, momentum .9": loss("wasserstein") | unnormed() | rates(5e-4, beta1=0.9),
    "wasserstein alone, no average": loss("wasserstein") | unnormed() | rates(5e-4) | {"ema": None},
    "wasserstein, batch norm": loss("wasserstein") | unnormed("batch") | rates(1e-3),
    "wasserstein, layer norm": loss("wasserstein") | unnormed("layer") | rates(1e-3),
    "wgan-gp, hardly": loss("wasserstein", "gradient-penalty", weight=0.003) | unnormed() | rates(2e-3),
    "wasserstein, clipping": loss("wasserstein", "clipping", bound=0.2) | unnormed() | rates(2e-3),
    "momentum .9, no norm, rates 5e-3": unnormed() | rates(5e-3, beta1=0.9),
    "momentum .9, rates 5e-3": rates(5e-3, beta1=0.9),
    "no norm, rates 2e-2": unnormed() | rates(2e-2),
    "minimax, no norm, rates 1e-2": loss("minimax") | unnormed() | rates(1e-2),
    "least squares, no norm, rates 2e-2": loss("least-squares") | unnormed() | rates(2e-2),
    "rates 1e-1": rates(1e-1),
}
"""What differs from the usual training; the name is the configuration's."""


def base(kind: str) -> Tree:
    """The usual training: a small mlp on the digits, a small dcgan on Fashion-MNIST or the digits."""
    mlp, small = {"name": "mlp", "width": 64, "depth": 2}, {"name": "dcgan", "width": 8}
    data = (
        {"name": "digits"} if kind.startswith("digits") else {"name": "fashion-mnist", "image_size": 16}
    )
    network = mlp if kind == "digits" else small
    steps = {"digits": 3000, "digits-dcgan": 1200, "fashion": 900}[kind]
    return {
        "data": data,
        "generator": network,
        "discriminator": network,
        "latent_size": 16,
        "batch_size": 32,
        "ema": 0.99,
        "budget": {"steps": steps, "report_every": steps // REPORTS},
        "evaluation": {"samples": 1000, "real_samples": 1500},
        "health": {"diverged": False, "collapsed": False, "stalled": False},
    }


def half(kind: str, name: str) -> str:
    """`tune` or `judge`: by the configuration, in turns, so that both have some of every sort."""
    place = list(CHANGES).index(name) + KINDS.index(kind)
    return ("tune", "judge")[place % 2]


def jobs(seeds: int) -> Iterator[tuple[str, str, int]]:
    for seed in range(seeds):
        for name in CHANGES:
            for kind in KINDS:
                yield kind, name, seed


def record(job: tuple[str, str, int]) -> Tree:
    """Train, and return the curve: one list for each column."""
    import torch  # noqa: PLC0415

    from gansearch.data.images import ImageData  # noqa: PLC0415
    from gansearch.data.load import load  # noqa: PLC0415
    from gansearch.metrics.reference import Evaluator  # noqa: PLC0415
    from gansearch.study.config import TrialConfig  # noqa: PLC0415
    from gansearch.training.completion import complete  # noqa: PLC0415
    from gansearch.training.prepare import LocalPaths, prepare  # noqa: PLC0415
    from gansearch.training.sampling import EVALUATION_SEED, generate  # noqa: PLC0415
    from gansearch.training.trainer import Trainer  # noqa: PLC0415

    torch.set_num_threads(1)
    kind, name, seed = job
    tree = base(kind) | {"seed": seed}
    for key, value in CHANGES[name].items():
        merged = isinstance(value, dict) and key in ("generator", "discriminator")
        tree[key] = tree[key] | value if merged else value
    config, mistakes = complete(TrialConfig.model_validate(tree), None)
    if mistakes:
        raise ValueError(f"{name}: {mistakes}")
    places, part = LocalPaths.of_environment(), config.data
    data = load(part.name, part.options, root=places.data, split="train", image_size=part.image_size)
    assert isinstance(data, ImageData), f"{name}: these curves are of images"
    reference = prepare(config, data, places)
    evaluator = Evaluator(reference)
    pixels = torch.from_numpy(data.images[: FEW * 5].copy())
    # What so few real images are from all of them: the part of a distance that no generator can lose.
    floor = evaluator.evaluate(pixels[:FEW])["fd_classifier"]
    trainer = Trainer(config, data, reference)
    columns: dict[str, list[float]] = {"step": []}
    while not trainer.finished:
        report = trainer.advance()
        if not math.isfinite(report.metrics["fd_classifier"]):
            break
        images = trainer.generate(1000, config.seed + EVALUATION_SEED)
        values = {key: report.metrics[key] for key in KEPT}
        few = evaluator.evaluate(images[:FEW])
        values |= {"fd_few": few["fd_classifier"], "is_few": few["is_classifier"]}
        live = values["fd_classifier"]
        if config.ema is not None and math.isfinite(live):
            ours = {k: v.clone() for k, v in trainer.averaged.state_dict().items()}
            theirs = zip(trainer.averaged.buffers(), trainer.generator.buffers(), strict=True)
            for to, origin in theirs:
                to.copy_(origin)
            seen = generate(
                trainer.averaged,
                1000,
                config.latent_size,
                config.seed + EVALUATION_SEED,
                trainer.device,
                trainer.domain,
            )
            live = evaluator.evaluate(seen)["fd_classifier"]
            trainer.averaged.load_state_dict(ours)
        values["fd_live_statistics"] = live
        columns["step"].append(report.step)
        for key, value in values.items():
            columns.setdefault(key, []).append(float(f"{value:.4g}"))
    return {"kind": kind, "name": name, "seed": seed, "steps": config.budget.steps} | {
        "half": half(kind, name),
        "floor_few": float(f"{floor:.4g}"),
        "columns": columns,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, help="one line of JSON for each training")
    parser.add_argument("--jobs", type=int, default=2, help="trainings at once, one thread each")
    parser.add_argument("--seeds", type=int, default=1)
    args = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    lines = args.out.read_text().splitlines() if args.out.exists() else []
    done = {(one["kind"], one["name"], one["seed"]) for one in map(json.loads, lines)}
    todo = [job for job in jobs(args.seeds) if job not in done]
    with multiprocessing.get_context("spawn").Pool(args.jobs) as pool:
        for found in pool.imap_unordered(record, todo):
            with args.out.open("a") as file:
                file.write(json.dumps(found) + "\n")
            print(found["kind"], found["name"], found["seed"], flush=True)


if __name__ == "__main__":
    main()
