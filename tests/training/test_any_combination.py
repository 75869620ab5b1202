"""Parts put together at random: in lanes, and after a checkpoint, each training is what it is alone."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import torch

from gansearch.data.load import load
from gansearch.losses import LOSSES, PENALTIES
from gansearch.study.config import TrialConfig
from gansearch.training import checkpoint
from gansearch.training.completion import complete
from gansearch.training.pack import Start
from gansearch.training.prepare import prepare
from gansearch.training.stacked.pack import FusedPack
from gansearch.training.stacked.shape import why_alone
from gansearch.training.variational import build_trainer

DATA = {
    "digits": {"name": "digits"},
    "coloured": {"name": "stacked-mnist", "source": "digits", "digits": 2, "samples": 200},
    "points": {"name": "ring", "samples": 1000},
}


class Kit:
    """Configurations at random: of those that are refused, others are drawn.

    Args:
        seed: of what is drawn.
    """

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.kind = self.chance.choice(list(DATA))

    def tree(self):
        """A configuration, which may make no sense."""
        one = self.chance.choice
        loss = {"name": one(LOSSES.names)}
        if self._is(0.6):
            loss["penalty"] = {"name": one(PENALTIES.names)}
            if self._is(0.3):
                loss["penalty"]["every"] = one([2, 4])
        return {
            "data": DATA[self.kind],
            "generator": self._generator(),
            "discriminator": self._discriminator(),
            "loss": loss,
            "optimizer": {side: self._optimizer() for side in ("generator", "discriminator")},
            "batch_size": one([8, 12]),
            "latent_size": 8,
            "discriminator_steps": one([1, 1, 2]),
            "ema": one([None, 0.9]),
            "budget": {"steps": 2, "report_every": one([1, 2])},
            "evaluation": {
                "samples": 40,
                "metrics": ["fd_raw" if self.kind == "points" else "fd_classifier"],
            },
            "objective": {"metric": "fd_raw" if self.kind == "points" else "fd_classifier"},
            "health": {"collapsed": False, "stalled": False},
        }

    def _is(self, probability):
        return self.chance.random() < probability

    def _network(self, norms):
        one = self.chance.choice
        name = "mlp" if self.kind == "points" else one(["mlp", "dcgan", "sndcgan", "resnet", "r3"])
        network = {"name": name, "width": one([4, 8])}
        if name == "r3":
            network["blocks"] = 1
        elif self._is(0.7):
            network["norm"] = one(norms if name == "mlp" else [*norms, "instance"])
        if self._is(0.25):
            network["conditional"] = True
        if name in ("sndcgan", "resnet", "r3") and self._is(0.2):
            network["attention"] = 4
        return network

    def _generator(self):
        network = self._network(["batch", "none", "layer", "group", "spectral", "conditional-batch"])
        return network | ({"mixture": 2} if self._is(0.15) else {})

    def _discriminator(self):
        network = self._network(["batch", "none", "layer", "group", "spectral"])
        if network["name"] in ("sndcgan", "resnet") and self._is(0.2):
            network["minibatch_std"] = True
        if self.kind != "points" and self._is(0.3):
            network["augment"] = self.chance.choice(["diffaugment", "ada"])
        if self._is(0.3):
            network["noise"] = self.chance.choice([0.1, {"std": 0.2, "schedule": "linear"}])
        if self._is(0.2):
            network["pack"] = 2
        return network

    def _optimizer(self):
        optimizer = {"name": "sgd", "lr": 0.01}  # others magnify what rounding does
        if self._is(0.3):
            optimizer["schedule"] = self.chance.choice(["cosine", {"name": "linear", "warmup": 0.5}])
        return optimizer | ({"clip": 0.5} if self._is(0.2) else {})

    def draw(self, domain):
        """One that makes sense, complete."""
        while True:
            config, found = complete(TrialConfig.model_validate(self.tree()), domain)
            if not found:
                return config


@pytest.fixture(scope="module")
def material(places):
    """Data and the real side of its metrics, by kind."""
    known = {}

    def of(kind, config=None):
        options = {key: value for key, value in DATA[kind].items() if key != "name"}
        if kind not in known:
            data = load(DATA[kind]["name"], options, root=Path(), split="train")
            known[kind] = [data, None]
        if config is not None and known[kind][1] is None:
            known[kind][1] = prepare(config, known[kind][0], places)
        return known[kind]

    return of


def weights(trainer):
    """All of a training's weights and buffers, [P]."""
    sides = (trainer.generator, trainer.discriminator)
    return torch.cat(
        [value.detach().flatten().double() for side in sides for value in side.state_dict().values()]
    )


def distance(one, other):
    """Between the weights of two trainings, relative to their size; 0 where neither has any left."""
    own, theirs = weights(one), weights(other)
    if not (own.isfinite().all() or theirs.isfinite().all()):
        return 0.0
    return ((own - theirs).norm() / theirs.norm()).item()


def to_the_end(trainer):
    while not trainer.finished:
        trainer.advance()
    return trainer


def advanced_as_one(pack, configs):
    """In how many lanes each report was made."""
    pack.begin([Start(number, each) for number, each in enumerate(configs)])
    lanes = []
    while pack.due():
        for number, report in pack.advance():
            lanes.append(report.metrics.get("lanes"))
            if report.outcome:
                pack.stop([number])
    return lanes


@pytest.mark.parametrize(
    "seed", [*range(24), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(24, 40))]
)
def test_in_lanes_and_after_a_checkpoint_it_is_what_it_is_alone(seed, material, tmp_path):
    """Rounding is 1e-6 at most; what was drawn, added up or shown otherwise was 1e-3 and more."""
    kit = Kit(seed)
    config = kit.draw(material(kit.kind)[0].domain)
    data, reference = material(kit.kind, config)
    configs = [config.model_copy(update={"seed": number}) for number in range(2)]
    alone = [to_the_end(build_trainer(each, data, reference)) for each in configs]

    made = {}

    def build(config):
        made[config.seed] = build_trainer(config, data, reference)
        return made[config.seed]

    lanes = advanced_as_one(FusedPack(build), configs)
    assert set(lanes) == ({None} if why_alone(config) else {2})
    for number, trainer in enumerate(alone):
        assert [report.outcome for report in made[number].reports] == [
            report.outcome for report in trainer.reports
        ]
        assert distance(made[number], trainer) < 1e-5

    begun, resumed = (build_trainer(config, data, reference) for _ in range(2))
    begun.advance()
    if not begun.finished:
        checkpoint.save(tmp_path, begun.step, begun.state())
        resumed.load(checkpoint.load(checkpoint.path_of(tmp_path, begun.step)))
        whole = to_the_end(build_trainer(config, data, reference))
        ended = weights(to_the_end(resumed))
        assert torch.equal(ended.nan_to_num(), weights(whole).nan_to_num())
