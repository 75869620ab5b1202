"""What must hold of training on a device, as plain functions: without pytest, Ray, MLflow or Optuna.

`tests/training/test_gpu.py` runs each on the CPU in every run of the tests, so that they do not rot,
and on a GPU under the mark `gpu`; `benchmarks.gpu` runs them on a bare GPU machine. Each takes the name
of a device, raises `AssertionError` where something does not hold, and says what it saw in a line.

It is one file because all checks share the small trainings at its top, and are one list.
"""

from __future__ import annotations

import io
import math
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gansearch.data.images import ImageData
from gansearch.losses import PENALTIES
from gansearch.metrics.reference import Reference
from gansearch.networks.stacked import CannotStack
from gansearch.study.config import TrialConfig
from gansearch.study.records import Report
from gansearch.training import checkpoint
from gansearch.training.completion import complete
from gansearch.training.lifecycle import Training
from gansearch.training.pack import Start
from gansearch.training.prepare import LocalPaths, prepare
from gansearch.training.randomness import be_repeatable
from gansearch.training.stacked.pack import FusedPack
from gansearch.training.stacked.shape import why_alone
from gansearch.training.stacked.step import Lanes
from gansearch.training.trainer import Trainer
from gansearch.training.variational import build_trainer

Check = Callable[[str], str]

SIDES = ("generator", "discriminator")
PLAIN = {"optimizer": {side: {"name": "sgd", "lr": 0.05} for side in SIDES}}
"""Plain gradient descent: what divides gradients by their size magnifies their rounding."""


@cache
def pictures(size: int = 8, count: int = 256, channels: int = 3) -> ImageData:
    """Made-up images of four kinds: stripes of four directions, under noise."""
    chance = np.random.default_rng(0)
    labels = chance.integers(0, 4, count)
    down, across = np.mgrid[:size, :size]
    waves = np.stack([down, across, down + across, down - across])[labels]
    waves = 127 + 90 * np.sin(waves + chance.uniform(0, 6.3, (count, 1, 1)))
    images = waves[:, None] + chance.normal(0, 20, (count, channels, size, size))
    return ImageData("stripes", "train", images.clip(0, 255).astype(np.uint8), labels, 4)


_folder = cache(lambda: tempfile.TemporaryDirectory(prefix="gansearch-gpu-"))
"""It goes when the process ends."""


def places() -> LocalPaths:
    """A folder that lasts as long as the process."""
    root = Path(_folder().name)
    return LocalPaths(root / "data", root / "cache")


be_repeatable()  # some checks are of deterministic trainings, and others come before


def configuration(data: ImageData, **sections: Any) -> TrialConfig:
    """A small, complete configuration; keyword arguments replace its sections."""
    tree = {
        "generator": {"name": "mlp", "depth": 2, "width": 16},
        "discriminator": {"name": "mlp", "depth": 2, "width": 16},
        "batch_size": 16,
        "latent_size": 8,
        "budget": {"steps": 4, "report_every": 2},
        "evaluation": {"samples": 64, "metrics": [{"name": "diversity"}]},
        "objective": {"metric": "diversity", "goal": "max"},
        "health": {"diverged": False, "collapsed": False, "stalled": False},
    }
    config, mistakes = complete(TrialConfig.model_validate(tree | sections), data.domain)
    assert not mistakes, mistakes
    return config


_KNOWN: dict[tuple[str, str, str], Reference] = {}


def training(device: str, data: ImageData | None = None, /, **sections: Any) -> Training:
    """A training on a device."""
    data = data or pictures()
    config = configuration(data, **sections)
    key = (data.digest, repr(config.evaluation), device)
    if key not in _KNOWN:
        _KNOWN[key] = prepare(config, data, places(), device)
    return build_trainer(config, data, _KNOWN[key], device)


def trainer(device: str, data: ImageData | None = None, /, **sections: Any) -> Trainer:
    """A training of two networks in a game."""
    one = training(device, data, **sections)
    assert isinstance(one, Trainer)
    return one


def run_out(one: Training) -> list[Report]:
    """Train to the end."""
    while not one.finished:
        one.advance()
    return one.reports


@contextmanager
def exact() -> Iterator[None]:
    """While it is open, convolutions and products are of float32 and not of TF32."""
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    before = cudnn.allow_tf32, matmul.allow_tf32
    cudnn.allow_tf32 = matmul.allow_tf32 = False
    try:
        yield
    finally:
        cudnn.allow_tf32, matmul.allow_tf32 = before


def weights(one: Training) -> Tensor:
    """All weights of both networks, on the CPU, one after another."""
    networks = (one.generator, one.discriminator)
    return torch.cat([p.detach().flatten().cpu() for n in networks for p in n.parameters()])


def distance(ours: Tensor, theirs: Tensor) -> float:
    """Relative to the size of theirs."""
    return float((ours - theirs).norm() / theirs.norm())


def tensors_of(tree: Any) -> Iterator[Tensor]:
    """All tensors in a state, but those of random generators, which are the CPU's."""
    if isinstance(tree, Tensor):
        yield tree
    elif isinstance(tree, dict):
        for key, value in tree.items():
            if key not in ("random", "noise", "penalty", "labels", "view"):
                yield from tensors_of(value)
    elif isinstance(tree, list | tuple):
        for value in tree:
            yield from tensors_of(value)


# Training as such

NETWORKS = {
    "mlp": {"depth": 2, "width": 16},
    "dcgan": {"width": 4},
    "sndcgan": {"width": 4},
    "resnet": {"width": 4},
    "r3": {"width": 4, "blocks": 1},
}


def check_networks(device: str) -> str:
    """Every family of networks trains in both precisions, with all it has on the device."""
    tried = []
    for name, options in NETWORKS.items():
        for precision in ("float32", "bfloat16"):
            network = {"name": name, **options}
            sections = {"generator": network, "discriminator": network, "precision": precision}
            if name == "r3":
                sections["loss"] = {"name": "relativistic-paired", "penalty": {"name": "r1-r2"}}
            one = trainer(device, **sections)
            reports = run_out(one)
            assert [report.step for report in reports] == [2, 4], name
            for key, value in reports[-1].metrics.items():
                assert math.isfinite(value), f"{name}, {precision}: {key} is {value}"
            state = one.state()
            networks = [state[key] for key in ("generator", "discriminator", "averaged")]
            where = {each.device.type for each in tensors_of(networks)}
            assert where == {torch.device(device).type}, f"{name}: tensors on {where}"
        tried.append(name)
    return f"{', '.join(tried)} in float32 and bfloat16"


NORMLESS = {"name": "mlp", "depth": 2, "width": 16, "norm": "none"}


def check_penalties(device: str) -> str:
    """Every penalty and every loss trains."""
    flat = {"discriminator": NORMLESS}
    for name in PENALTIES.names:
        one = trainer(device, loss={"name": "hinge", "penalty": {"name": name}}, **flat)
        assert math.isfinite(run_out(one)[-1].metrics["d_loss"]), name
        again = trainer(device, loss={"name": "hinge", "penalty": {"name": name}}, **flat)
        again.load(round_trip(one.state()))
    from gansearch.losses import LOSSES  # noqa: PLC0415

    for name in LOSSES.names:
        assert math.isfinite(run_out(training(device, loss={"name": name}))[-1].metrics["g_loss"]), name
    return f"{len(PENALTIES.names)} penalties, {len(LOSSES.names)} losses"


VARIANTS: dict[str, dict[str, Any]] = {
    "conditional": {side: {"name": "mlp", "conditional": True, "width": 16} for side in SIDES},
    "diffaugment": {"discriminator": {"name": "dcgan", "width": 4, "augment": "diffaugment"}},
    "ada": {"discriminator": {"name": "dcgan", "width": 4, "augment": "ada"}},
    "noise": {"discriminator": {**NORMLESS, "noise": 0.1}},
    "pack": {"discriminator": {**NORMLESS, "pack": 2}},
    "mixture": {"generator": {"name": "mlp", "width": 16, "mixture": 2, "diversity": 0.5}},
    "several discriminator steps": {"discriminator_steps": 2},
    "lazy penalty": {"loss": {"name": "hinge", "penalty": {"name": "r1", "every": 2}}},
    "clipped gradients": {"optimizer": {side: {"name": "rmsprop", "clip": 1.0} for side in SIDES}},
    "attention": {"generator": {"name": "resnet", "width": 4, "attention": 4}},
    "no average": {"ema": None},
}


def check_variants(device: str) -> str:
    """What a configuration may ask for besides: it trains, and goes on from a checkpoint."""
    for name, sections in VARIANTS.items():
        one = trainer(device, **sections)
        one.advance()
        again = trainer(device, **sections)
        again.load(round_trip(one.state()))
        for each in (one, again):
            assert math.isfinite(each.advance().metrics["d_loss"]), name
    split = trainer(device)
    split.split(2)
    assert math.isfinite(split.advance().metrics["d_loss"])
    return f"{', '.join(VARIANTS)}, micro-batches"


def round_trip(state: dict[str, Any]) -> dict[str, Any]:
    """A state as it is read back from a checkpoint."""
    file = io.BytesIO()
    torch.save(checkpoint.plain(state), file)
    file.seek(0)
    read: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True)
    return read


def _given(latents: Tensor, _count: int) -> Tensor:
    return latents


def check_same_as_cpu(device: str) -> str:
    """The same start and order of images as on a CPU to the bit; with the same noise, the same step."""
    worst = 0.0
    with exact():
        for name in ("mlp", "dcgan"):
            network = {"name": name, **NETWORKS[name]}
            sections = {"generator": network, "discriminator": network, **PLAIN}
            ours, theirs = (trainer(where, **sections) for where in (device, "cpu"))
            assert torch.equal(weights(ours), weights(theirs)), f"{name}: another start"
            index = [next(t.inside.order.batches(3, 1, t.device)).cpu() for t in (ours, theirs)]
            assert torch.equal(*index), f"{name}: another order of images"
            latents = theirs._latents(16)
            for each in (ours, theirs):
                own = latents.to(each.device)
                each._latents = partial(_given, own)  # type: ignore[method-assign]
                each._train_to(1)
            worst = max(worst, distance(weights(ours), weights(theirs)))
            assert worst < 1e-5, f"{name}: after a step {worst:.1e} from the CPU's"
    return f"after a step within {worst:.0e} of the CPU's"


def check_repeats(device: str) -> str:
    """With `deterministic: true` a training repeats itself, and goes on from a checkpoint, exactly."""
    tried = []
    for name in ("mlp", "dcgan"):
        network = {"name": name, **NETWORKS[name]}
        sections = {"generator": network, "discriminator": network, "deterministic": True}
        sections["budget"] = {"steps": 6, "report_every": 2}
        one, same = trainer(device, **sections), trainer(device, **sections)
        one.advance()
        state = round_trip(one.state())
        run_out(one)
        run_out(same)
        assert torch.equal(weights(one), weights(same)), f"{name}: another run, another result"
        resumed = trainer(device, **sections)
        resumed.load(state)
        run_out(resumed)
        assert torch.equal(weights(one), weights(resumed)), f"{name}: resumed, another result"
        for ours, theirs in zip(one.reports, resumed.reports, strict=True):
            numbers = [
                {k: v for k, v in report.metrics.items() if k != "images_per_second"}
                for report in (ours, theirs)
            ]
            assert numbers[0] == numbers[1], f"{name}: resumed, other metrics at step {ours.step}"
        tried.append(name)
    return f"{' and '.join(tried)}: repeated and resumed to the bit"


def check_clock(device: str) -> str:
    """A report's seconds are those of the device's work, not those of asking for it."""
    network = {"name": "mlp", "width": 512, "depth": 3}
    sections: dict[str, Any] = {"generator": network, "discriminator": network, "batch_size": 128}
    one = trainer(device, budget={"steps": 60, "report_every": 30}, **sections)
    one.advance()
    settle(device)
    begun = time.perf_counter()
    report = one.advance()
    settle(device)
    passed = time.perf_counter() - begun
    told = report.seconds - one.reports[0].seconds
    assert 0.9 * passed <= told <= 1.01 * passed, f"told {told:.3f} s, passed {passed:.3f} s"
    training = 30 * 128 / report.metrics["images_per_second"]
    return f"{told:.3f} s told of {passed:.3f}, {training:.3f} of them training"


def settle(device: str) -> None:
    """Wait until the device has done what it was asked for."""
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize()


def check_samples(device: str) -> str:
    """What was trained on the device is exported, and drawn from on a CPU and on the device."""
    from gansearch.training.export_folder import read_model, write_model  # noqa: PLC0415

    network = {"name": "dcgan", "width": 4}
    one = trainer(device, generator=network, discriminator=network)
    run_out(one)
    assert one.grid() is not None
    folder = places().cache / f"model-{time.time_ns()}"
    write_model(folder, round_trip(one.state()), one.reports, {})
    model = read_model(folder)
    here, there = model.sample(32, 0), model.sample(32, 0, device=device)
    assert here.shape == there.shape == (32, 3, 8, 8)
    assert there.device.type == torch.device(device).type
    return "exported; drawn on the CPU and on the device"


# Lanes

STACKING: dict[str, dict[str, Any]] = {
    "mlp": {},
    "mlp, gradient penalty": {
        "loss": {"name": "wasserstein", "penalty": {"name": "gradient-penalty"}},
        "discriminator": NORMLESS,
    },
    "mlp, bfloat16": {"precision": "bfloat16"},
    "mlp, rmsprop": {"optimizer": {side: {"name": "rmsprop"} for side in SIDES}},
    "mlp, lazy r1": {
        "loss": {"name": "hinge", "penalty": {"name": "r1", "every": 2, "schedule": "linear"}},
        "discriminator": NORMLESS,
    },
    "mlp, lecam, noise, pack": {
        "loss": {"name": "hinge", "penalty": {"name": "lecam"}},
        "discriminator": {**NORMLESS, "noise": 0.1, "pack": 2},
    },
    "mlp, mixture": {"generator": {"name": "mlp", "width": 16, "mixture": 2}},
    "dcgan": {side: {"name": "dcgan", "width": 4} for side in SIDES},
    "resnet": {side: {"name": "resnet", "width": 4} for side in SIDES},
}


def stackable() -> Iterator[tuple[str, dict[str, Any]]]:
    """What trains as one, of the above."""
    for name, sections in STACKING.items():
        if not why_alone(configuration(pictures(), **sections)):
            yield name, sections


def check_lanes(device: str) -> str:
    """Trainings as one are what each is alone: after a step, and each one's noise to the bit."""
    seen = []
    with exact():
        for name, sections in stackable():
            optimizer = {} if "rmsprop" in name else PLAIN
            each = [sections | optimizer | {"seed": seed} for seed in range(3)]
            together = Lanes([trainer(device, **one) for one in each])
            together.run(1)
            worst = 0.0
            for row, one in zip(together.rows, each, strict=True):
                alone = trainer(device, **one)
                alone._train_to(1)
                worst = max(worst, distance(weights(row.trainer), weights(alone)))
                states = [t.inside.noise.get_state() for t in (row.trainer, alone)]
                assert torch.equal(*states), f"{name}: another noise"
            bound = 1e-3 if "rmsprop" in name or "bfloat16" in name else 1e-5
            assert worst < bound, f"{name}: after a step {worst:.1e} from alone"
            seen.append(f"{name} {worst:.0e}")
    return "after a step, from alone: " + ", ".join(seen)


def check_nan_lane(device: str) -> str:
    """One lane full of NaN leaves the others' numbers as they are, to the bit."""
    for name, sections in stackable():
        results = []
        for spoilt in (False, True):
            packed = [trainer(device, deterministic=True, **sections, seed=seed) for seed in range(3)]
            together = Lanes(packed)
            if spoilt:
                with torch.no_grad():
                    next(packed[1].generator.parameters()).fill_(math.nan)
            together.run(2)
            results.append([weights(row.trainer) for row in together.rows])
        for k in (0, 2):
            assert torch.equal(results[0][k], results[1][k]), f"{name}: lane {k} has changed"
        assert results[1][1].isnan().any(), name
    return "the others to the bit"


def check_pack(device: str) -> str:
    """A pack trains to its ends, with reports; a lane's checkpoint goes on alone."""
    data = pictures()
    configs = [configuration(data, seed=seed) for seed in range(3)]
    configs.append(configuration(data, seed=3, discriminator={**NORMLESS, "noise": 0.1}))
    pack = FusedPack(lambda config: _of(config, device))
    pack.begin([Start(number, config) for number, config in enumerate(configs)])
    curves: dict[int, list[Report]] = {}
    states: dict[int, Any] = {}
    while pack.due():
        for number, report in pack.advance():
            curves.setdefault(number, []).append(report)
            states.setdefault(number, round_trip(pack.state(number)))
            if report.outcome:
                pack.stop([number])
    assert [len(curve) for _, curve in sorted(curves.items())] == [2] * 4
    assert [curve[0].metrics.get("lanes") for _, curve in sorted(curves.items())] == [3, 3, 3, None]
    alone = _of(configs[0], device)
    alone.load(states[0])
    assert alone.advance().outcome is not None
    return "three as one and one alone; a lane went on alone"


def _of(config: TrialConfig, device: str) -> Trainer:
    data = pictures()
    return Trainer(config, data, prepare(config, data, places(), device), device)


def check_memory_of_lanes(device: str) -> str:
    """K lanes take at most K times the memory of one, and 10 %."""
    if torch.device(device).type != "cuda":
        return "measured on a GPU alone here; see benchmarks.lane_memory"
    data, lanes, seen = pictures(32), 8, []
    for name, width in (("mlp", 256), ("dcgan", 32)):
        network = {"name": name, "width": width}
        sections = {"generator": network, "discriminator": network, "batch_size": 64}
        sections["budget"] = {"steps": 4, "report_every": 4}
        if why_alone(configuration(data, **sections)):
            continue

        def peak(count: int, sections: dict[str, Any] = sections) -> float:
            torch.cuda.empty_cache()
            before = torch.cuda.memory_allocated()
            torch.cuda.reset_peak_memory_stats()
            try:
                packed = [trainer(device, data, **sections, seed=seed) for seed in range(count)]
            except CannotStack:
                return math.nan
            if count == 1:
                packed[0]._train_to(3)
            else:
                Lanes(packed).run(3)
            return (torch.cuda.max_memory_allocated() - before) / 2**20

        one, many = peak(1), peak(lanes)
        assert many <= 1.1 * lanes * one, f"{name}: {many:.1f} MiB of {lanes}, {one:.1f} of one"
        seen.append(f"{name} {many / one / lanes:.2f}")
    return f"of {lanes} lanes over {lanes} x one: " + ", ".join(seen)


def check_meter(device: str) -> str:
    """What is told of the machine's use."""
    from gansearch.training.usage import Meter  # noqa: PLC0415  it needs psutil

    meter = Meter(device, 1)
    meter.begin()
    run_out(trainer(device))
    used = meter.read(64)
    meter.stop()
    assert used["images_per_second"] > 0
    if torch.device(device).type == "cuda":
        assert used["process_gpu_memory_peak_megabytes"] > 0
    return ", ".join(f"{key} {value:g}" for key, value in used.items())


CHECKS: dict[str, Check] = {
    name.removeprefix("check_"): check for name, check in globals().items() if name.startswith("check_")
}
