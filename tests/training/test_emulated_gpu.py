"""Training on a GPU where there is none: nothing of it is left on the CPU, or drawn there."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from test_any_combination import DATA, Kit, advanced_as_one, distance, to_the_end, weights

from benchmarks.gpu_checks import CHECKS, round_trip
from gansearch.data.load import load
from gansearch.metrics import METRICS
from gansearch.networks import mlp
from gansearch.study.config import TrialConfig
from gansearch.training.completion import complete
from gansearch.training.prepare import prepare
from gansearch.training.stacked.pack import FusedPack
from gansearch.training.variational import build_trainer

pytestmark = pytest.mark.filterwarnings("ignore:CUDA is not available.*autocast")

SLOW = {"variants", "penalties", "memory_of_lanes", "nan_lane", "lanes", "networks", "repeats"}


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.slow] if name in SLOW else [])
        for name in CHECKS
        if name != "clock"
    ],
)
def test_what_must_hold_on_a_device_does(name, emulated_gpu):
    print(CHECKS[name](emulated_gpu))


def test_what_is_left_behind_is_told(emulated_gpu):
    there, here = torch.ones(3, device=emulated_gpu), torch.ones(3)
    for wrong in (
        lambda: there + here,
        lambda: here[there.long()],
        lambda: torch.nn.Linear(3, 1)(there),
        lambda: torch.randn(3, device=emulated_gpu, generator=torch.Generator().manual_seed(0)),
        lambda: torch.randn(3, generator=torch.Generator(emulated_gpu).manual_seed(0)),
    ):
        with pytest.raises(AssertionError, match=r"of the CPU|a generator of"):
            wrong()
    with pytest.raises(RuntimeError):
        there.numpy()
    of_gpu, of_cpu = torch.Generator(emulated_gpu), torch.Generator()
    with pytest.raises(AssertionError, match=r"of the CPU"):
        of_gpu.set_state(of_cpu.get_state())
    with pytest.raises(RuntimeError):
        of_cpu.set_state(of_gpu.get_state())
    assert (there + 1)[here.long()].cpu().tolist() == [2, 2, 2]


@pytest.fixture(scope="module")
def data():
    options = {kind: dict(part) for kind, part in DATA.items()}
    return {k: load(part.pop("name"), part, root=Path(), split="train") for k, part in options.items()}


@pytest.mark.parametrize(
    "seed", [6, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (1, *range(7, 25)))]
)
def test_a_training_is_the_cpu_s_to_the_bit_and_so_are_its_lanes_up_to_rounding(
    seed, data, places, emulated_gpu
):
    kit = Kit(seed)
    samples = data[kit.kind]
    config = kit.draw(samples.domain)
    references = {device: prepare(config, samples, places, device) for device in ("cpu", emulated_gpu)}

    def build(config, device=emulated_gpu):
        return build_trainer(config, samples, references[device], device)

    ours, theirs = (to_the_end(build(config, device)) for device in (emulated_gpu, "cpu"))
    assert torch.equal(weights(ours).cpu().nan_to_num(), weights(theirs).nan_to_num())
    for mine, other in zip(ours.reports, theirs.reports, strict=True):
        assert mine.outcome == other.outcome
        same(mine.metrics, other.metrics)
    made = {}

    def kept(config):
        made[config.seed] = build(config)
        return made[config.seed]

    configs = [config.model_copy(update={"seed": number}) for number in range(2)]
    advanced_as_one(FusedPack(kept), configs)
    assert distance(made[config.seed], ours) < 1e-5


@pytest.mark.parametrize("first", ["cpu", "cuda"])
def test_a_training_goes_on_on_another_device(first, data, places, emulated_gpu, caplog):
    """With its weights, and with random numbers that follow from its seed and step."""
    second = {"cpu": emulated_gpu, emulated_gpu: "cpu"}[first]
    tree = {
        "generator": {"name": "mlp", "width": 8},
        "discriminator": {"name": "mlp", "width": 8, "noise": 0.1, "norm": "none"},
        "loss": {"name": "non-saturating", "flipping": 0.1, "penalty": "gradient-penalty"},
        "batch_size": 8,
        "latent_size": 6,
        "budget": {"steps": 6, "report_every": 2},
        "evaluation": {"samples": 50, "metrics": ["diversity"]},
        "objective": {"metric": "diversity", "goal": "max"},
        "health": {"diverged": False, "collapsed": False, "stalled": False},
    }
    samples = data["digits"]
    config, wrong = complete(TrialConfig.model_validate(tree), samples.domain)
    assert not wrong

    def build(device):
        return build_trainer(config, samples, prepare(config, samples, places, device), device)

    begun = build(first)
    begun.advance()
    moved, again = build(second), build(second)
    for each in (moved, again):
        each.load(round_trip(begun.state()))
        assert torch.equal(weights(each).cpu(), weights(begun).cpu())
        assert f"from step 2, which was made on {first}, it is trained on {second}" in caplog.text
        assert [report.step for report in to_the_end(each).reports] == [2, 4, 6]
        assert each.reports[0] == begun.reports[0]
    assert torch.equal(weights(moved).cpu(), weights(again).cpu())


class Forgetful(mlp.Discriminator):
    """One of a user's own that draws by itself, from what all draw from."""

    def forward(self, samples):
        return super().forward(torch.nn.functional.dropout(samples, 0.5))


def test_what_a_network_draws_by_itself_goes_on_by_seed_and_step_too(data, places, emulated_gpu):
    tree = {"generator": {"name": "mlp", "width": 8}, "budget": {"steps": 4, "report_every": 1}}
    tree |= {"discriminator": {"name": f"{__name__}:Forgetful"}, "batch_size": 8, "latent_size": 6}
    tree |= {
        "evaluation": {"samples": 50, "metrics": ["diversity"]},
        "objective": {"metric": "diversity"},
    }
    samples, drawn = data["digits"], []
    for seed, steps in ((0, 1), (0, 1), (0, 2), (1, 1)):
        config, _ = complete(TrialConfig.model_validate(tree | {"seed": seed}), samples.domain)
        begun = build_trainer(config, samples, prepare(config, samples, places), "cpu")
        for _ in range(steps):
            begun.advance()
        reference = prepare(config, samples, places, emulated_gpu)
        moved = build_trainer(config, samples, reference, emulated_gpu)
        moved.load(round_trip(begun.state()))
        with moved._random.in_use():
            drawn.append(torch.rand(3, device=emulated_gpu).tolist())
        moved.advance()
    assert drawn[0] == drawn[1]
    assert len({*map(tuple, drawn)}) == 3


FILES = {"fid", "inception_score", "kid", "fd_dinov2", "fd_clip", "fd_infinity", "fd_infinity_error"}
"""Metrics on features that are read from files."""


@pytest.mark.parametrize("kind", [pytest.param("digits", marks=pytest.mark.slow), "points"])
def test_every_metric_is_the_cpu_s(kind, data, places, emulated_gpu):
    samples = data[kind]
    network = {"name": "mlp", "width": 8, "conditional": kind == "digits"}

    def asking_for(names):
        tree = {
            "generator": network,
            "discriminator": network,
            "batch_size": 8,
            "latent_size": 6,
            "budget": {"steps": 2, "report_every": 1},
            "evaluation": {"samples": 1000, "metrics": names},
            "objective": {"metric": names[0]},
            "health": {"diverged": False, "collapsed": False, "stalled": False},
        }
        if kind == "digits":
            tree["evaluation"] |= {"held_out": 50, "final": {"samples": 1100, "metrics": names}}
        return complete(TrialConfig.model_validate(tree), samples.domain)

    names = [name for name in METRICS.names if name not in FILES and not asking_for([name])[1]]
    assert len(names) > (12 if kind == "digits" else 5)
    config, _ = asking_for(names)
    found = []
    for device in ("cpu", emulated_gpu):
        reference = prepare(config, samples, places, device)
        found.append(to_the_end(build_trainer(config, samples, reference, device)).reports)
    for ours, theirs in zip(*found, strict=True):
        same(ours.metrics, theirs.metrics)
    assert set(names) <= found[0][-1].metrics.keys()


def same(ours, theirs):
    """Metrics that are equal, but for what the clock gives."""
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        if name != "images_per_second":
            expected = pytest.approx(theirs[name], rel=1e-6, abs=1e-9, nan_ok=True)
            assert value == expected, name
