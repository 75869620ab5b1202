"""Networks of a user's own that say that they stack, held to it before any are trained as one."""

# ruff: noqa: F811  fixtures are named as they are defined

from __future__ import annotations

import pytest
import torch
from test_compiled import as_it_is  # noqa: F401

from gansearch.networks.stacked import CannotStack
from gansearch.networks.stacked.check import chance
from gansearch.study.plan import Resources
from gansearch.study.records import Outcome
from gansearch.training.apart import apart
from gansearch.training.compiled.step import CompiledLanes
from gansearch.training.pack import Start
from gansearch.training.stacked import proof
from gansearch.training.stacked.choice import Asked, choose, speeds_of
from gansearch.training.stacked.pack import FusedPack
from gansearch.training.stacked.step import Lanes
from gansearch.training.trainer import Trainer

OWN = """
import random

import numpy as np
import torch
from torch import nn
from torch.nn.functional import softplus

class Judge(nn.Module):
    stacks = True

    def __init__(self, domain, *, width: int = 8) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Flatten(), nn.Linear(64, width), nn.LeakyReLU(0.2))
        self.last = nn.Linear(width, 1)

    def forward(self, samples):
        return self.last(self.first(samples)).squeeze(-1)

class OfAnyPack(Judge):
    def __init__(self, domain, *, width: int = 8) -> None:
        super().__init__(domain, width=width)
        channels, height, side = domain.shape
        self.first[1] = nn.Linear(channels * height * side, width)

class SeesAll(Judge):
    def forward(self, samples):
        features = self.first(samples)
        return self.last(features - features.mean()).squeeze(-1)

class Merges(Judge):
    def forward(self, samples):
        return super().forward(samples).flatten()

class Keeps(Judge):
    def __init__(self, domain, *, width: int = 8) -> None:
        super().__init__(domain, width=width)
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, samples):
        return super().forward(samples) * self.scale

class KeepsOne(Judge):
    def __init__(self, domain, *, width: int = 8) -> None:
        super().__init__(domain, width=width)
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, samples):
        return super().forward(samples) * self.scale

class InPairs(Judge):
    def forward(self, samples):
        if samples.shape[-4] % 8:
            raise ValueError("eight at a time")
        return super().forward(samples)

class Told(Judge):
    conditional = True

    def __init__(self, domain, *, width: int = 8) -> None:
        super().__init__(domain, width=width)
        self.table = nn.Embedding(len(domain.classes), width)

    def forward(self, samples, labels):
        features = self.first(samples)
        return self.last(features).squeeze(-1) + (features * self.table(labels)).sum(-1)

class ToldTheFirst(Told):
    def forward(self, samples, labels):
        return super().forward(samples, labels[:1].expand_as(labels) if labels.dim() > 1 else labels)

class Counts(Judge):
    def __init__(self, domain, *, width: int = 8) -> None:
        super().__init__(domain, width=width)
        self.calls = 0

    def forward(self, samples):
        self.calls += self.training
        return super().forward(samples)

class Wave(Judge):
    def __init__(self, domain, *, width: int = 8) -> None:
        super().__init__(domain, width=width)
        self.waves = torch.randn(64, 64)

    def forward(self, samples):
        waves = samples.flatten(-3) @ self.waves
        return super().forward(waves.unflatten(-1, (1, 8, 8)))

class Extra(Counts):
    def get_extra_state(self):
        return self.calls

    def set_extra_state(self, state):
        self.calls = state

class Hooked(Judge):
    def __init__(self, domain, *, width: int = 8) -> None:
        super().__init__(domain, width=width)
        self.last.weight.register_hook(lambda gradient: gradient / 2)

class HookedLayer(Judge):
    def __init__(self, domain, *, width: int = 8) -> None:
        super().__init__(domain, width=width)
        self.first.register_full_backward_hook(lambda layer, by, of: tuple(g and None for g in ()))

class Tied(Judge):
    def __init__(self, domain, *, width: int = 8) -> None:
        super().__init__(domain, width=width)
        self.more, self.again = nn.Linear(width, width), nn.Linear(width, width)
        self.again.weight = self.more.weight

    def forward(self, samples):
        return self.last(self.again(self.more(self.first(samples)))).squeeze(-1)

class Stiff(Judge):
    def __init__(self, domain, *, width: int = 8) -> None:
        super().__init__(domain, width=width)
        self.last.bias.requires_grad_(False)

class Sure(Judge):
    def forward(self, samples):
        assert samples.dim() == 4, "four axes are wanted"
        return super().forward(samples)

class Chancy(Judge):
    # Seldom does a pass differ.
    def forward(self, samples):
        if random.random() < 1e-9:
            samples = samples / 2
        return super().forward(samples)

class Lucky(Judge):
    def forward(self, samples):
        if np.random.rand() < 1e-9:
            samples = samples / 2
        return super().forward(samples)

class Spare(Judge):
    compiles = True

    def __init__(self, domain, *, width: int = 8) -> None:
        super().__init__(domain, width=width)
        self.spare = nn.Linear(width, width)

class Twice(Judge):
    # One layer in two places, behind one of which stands an activation.

    def __init__(self, domain, *, width: int = 8) -> None:
        super().__init__(domain, width=width)
        self.shared = nn.Linear(width, width)
        self.row = nn.Sequential(self.shared, nn.LeakyReLU(0.2))

    def forward(self, samples):
        return self.last(self.row(self.shared(self.first(samples)))).squeeze(-1)

class Game:
    g_uses_real = False
    decision = 0.0

    def d(self, real, fake):
        return (softplus(-real) + softplus(fake)).mean(-1)

    def g(self, real, fake):
        return softplus(-fake).mean(-1)

class OfAll(Game):
    def g(self, real, fake):
        return softplus(-fake).mean()

class Centres(Game):
    def d(self, real, fake):
        return super().d(real - fake.mean(), fake - real.mean())

class Bursts(Game):
    def g(self, real, fake):
        return 0.0 * fake.mean(-1) + float("inf")

class Flips(Game):
    def d(self, real, fake):
        return super().d(real * torch.randn_like(real), fake)

class Wavers(Game):
    def g(self, real, fake):
        return super().g(real, fake / 2 if np.random.rand() < 1e-9 else fake)

class Doubts(Game):
    def d(self, real, fake, *, draws=None):
        return super().d(real, fake) if draws is None else super().d(real * draws.rand_like(real), fake)

class DoubtsAll(Game):
    def d(self, real, fake, *, draws):
        return super().d(real * draws.rand_like(real[:1]), fake)

class Recalls(Game):
    # Its logits' mean over all that it was called with, in an attribute.

    def __init__(self) -> None:
        self.mean = 0.0

    def d(self, real, fake):
        self.mean = 0.9 * self.mean + 0.1 * fake.detach().mean(-1)
        return super().d(real, fake) + self.mean

class Slope:
    per_lane = ("weight",)

    def __init__(self, *, weight: float = 2.0) -> None:
        self.weight = weight

    def __call__(self, critic, real, fake, *, draws):
        at = (real + draws.rand_like(real) * (fake - real)).requires_grad_()
        (slope,) = torch.autograd.grad(critic(at).sum(), at, create_graph=True)
        return self.weight * self.of(slope)

    def of(self, slope):
        return slope.square().flatten(-3).sum(-1).mean(-1)

class SlopeOfAll(Slope):
    def of(self, slope):
        return slope.square().mean()

class Detached(Slope):
    def of(self, slope):
        return super().of(slope).detach()

class FirstWeight(Slope):
    def __call__(self, critic, real, fake, *, draws):
        if isinstance(self.weight, torch.Tensor):
            self.weight = float(self.weight[0])
        return super().__call__(critic, real, fake, draws=draws)

class Centred(Slope):
    def __init__(self, *, weight: float = 2.0) -> None:
        super().__init__(weight=weight)
        self.centre = torch.zeros(())

    def __call__(self, critic, real, fake, *, draws):
        return self.weight * (critic(real) - self.centre[..., None]).square().mean(-1)

    def observe(self, real, fake):
        self.centre = self.middle(real)

    def middle(self, logits):
        return logits.mean(-1)

    def state_dict(self):
        return {"centre": self.centre}

    def load_state_dict(self, state):
        self.centre = state["centre"]

class Recalled(Slope):
    def __init__(self, *, weight: float = 2.0) -> None:
        super().__init__(weight=weight)
        self.before = 0.0

    def __call__(self, critic, real, fake, *, draws):
        now = critic(real).square().mean(-1)
        value, self.before = self.weight * (now - self.before).square(), now.detach()
        return value

class Half(Centred):
    # Half of what it remembers is not in its state.

    def observe(self, real, fake):
        super().observe(real, fake)
        self.more = self.middle(fake)

    def __call__(self, critic, real, fake, *, draws):
        more = getattr(self, "more", torch.zeros(()))[..., None]
        return self.weight * (critic(real) - self.centre[..., None] - more).square().mean(-1)

class CentredOfAll(Centred):
    def middle(self, logits):
        return logits.mean().expand(logits.shape[:-1])

class Counted(Centred):
    def load_state_dict(self, state):
        self.centre.copy_(state["centre"])

class Maker(nn.Module):
    stacks = compiles = True

    def __init__(self, domain, latent) -> None:
        super().__init__()
        self.layer = nn.Linear(latent, 64)

    def forward(self, latents):
        return self.layer(latents).tanh().view(*latents.shape[:-1], 1, 8, 8)

class Settles(Maker):
    # Puts a new buffer in the place of the one before, as many do; evaluation is about it.

    def __init__(self, domain, latent) -> None:
        super().__init__(domain, latent)
        self.register_buffer("middle", torch.zeros(latent))

    def forward(self, latents):
        if self.training:
            self.middle = 0.5 * self.middle + 0.5 * latents.mean(-2)
            return super().forward(latents)
        middle = self.middle if self.middle.dim() == 1 else self.middle.unsqueeze(-2)
        return super().forward(latents + middle)

class ByTheFront(Maker):
    def forward(self, latents):
        return super().forward(latents - latents.mean(0))
"""


@pytest.fixture(autouse=True)
def own(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "own_stacks.py").write_text(OWN)


@pytest.fixture
def pack(digits, reference):
    return FusedPack(lambda config: Trainer(config, digits, reference))


def played(name):
    return {"loss": {"name": f"own_stacks:{name}"}}


def penalised(name, weight=2.0):
    penalty = {"name": f"own_stacks:{name}", "weight": weight}
    return {"loss": {"name": "own_stacks:Game", "penalty": penalty}}


def judged(name):
    told = {"generator": {"name": "mlp", "conditional": True}} if "Told" in name else {}
    return {"discriminator": {"name": f"own_stacks:{name}"}} | told


MEND = r"take means over the last axis, `.mean\(-1\)`, and leave those before it"
AT_ONCE = f"gives for 3 trainings at once not what it gives for each: {MEND}"
WRONG_GAMES = {
    "OfAll": (played, f"loss: 'own_stacks:OfAll': g {AT_ONCE}"),
    "Centres": (played, f"loss: 'own_stacks:Centres': d {AT_ONCE}"),
    "DoubtsAll": (played, "loss: 'own_stacks:DoubtsAll': d fails for 3 trainings at once"),
    "Flips": (played, "loss: 'own_stacks:Flips': d draws from a global generator of random numbers"),
    "Wavers": (played, "loss: 'own_stacks:Wavers': g draws from a global generator of random numbers"),
    "Recalls": (
        played,
        "loss: 'own_stacks:Recalls' remembers something from one call to the next, which no checkpoint",
    ),
    "Recalled": (
        penalised,
        "loss.penalty: 'own_stacks:Recalled' remembers something from one call to the next, which no",
    ),
    "Half": (
        penalised,
        "loss.penalty: 'own_stacks:Half' remembers something that its `state_dict` does not hold",
    ),
    "SlopeOfAll": (penalised, f"loss.penalty: 'own_stacks:SlopeOfAll' {AT_ONCE}"),
    "Detached": (
        penalised,
        "loss.penalty: 'own_stacks:Detached' gives a number through which no gradient reaches the disc",
    ),
    "FirstWeight": (penalised, f"loss.penalty: 'own_stacks:FirstWeight' {AT_ONCE}"),
    "CentredOfAll": (penalised, f"loss.penalty: 'own_stacks:CentredOfAll' {AT_ONCE}"),
    "Counted": (
        penalised,
        "loss.penalty: 'own_stacks:Counted' fails for 3 trainings at once: output with shape",
    ),
}
WRONG = {
    "SeesAll": "discriminator: 'own_stacks:SeesAll': in a stack, outputs differ from each network's "
    "alone: count axes from the last one",
    "Merges": r"a stack must give \[3, 4\], not \[12\]",
    "KeepsOne": "'own_stacks:KeepsOne': `forward` fails in a stack",
    "InPairs": "'own_stacks:InPairs' fails on 4 samples: ValueError: eight at a time",
    "ToldTheFirst": "in a stack, outputs differ from each network's alone",
    "Counts": "'own_stacks:Counts' counts in 'calls', which no checkpoint or export holds: keep what",
    "Chancy": "'own_stacks:Chancy': `forward` draws random numbers, of which each training has its own",
    "Lucky": "'own_stacks:Lucky': `forward` draws random numbers, of which each training has its own",
    "Wave": "'own_stacks:Wave' has a state that no checkpoint or export holds: keep what it",
    "Extra": "cannot be stacked: a `get_extra_state`",
    "Hooked": "cannot be stacked: a hook on 'last.weight'",
    "HookedLayer": "cannot be stacked: a hook on 'first'",
    "Tied": "cannot be stacked: a weight in two places, 'more.weight' and 'again.weight'",
    "Stiff": "cannot be stacked: 'last.bias', which is not trained",
    "Sure": "'own_stacks:Sure': `forward` fails in a stack, on .*: four axes are wanted",
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_not_so_in_a_stack_is_named_and_not_stacked(name, tiny, trainer, digits):
    torch.manual_seed(3)
    before = chance()
    (line,) = apart([tiny(**judged(name))], Resources(lanes=2), digits.domain)
    assert chance() == before
    with pytest.raises(CannotStack, match=WRONG[name]) as told:
        Lanes([trainer(**judged(name), seed=seed) for seed in range(2)])
    assert line == f"runs alone, because of {told.value}"
    assert "\n" not in line
    assert apart([tiny(**judged(name))], Resources(lanes=1), digits.domain) == []


@pytest.mark.parametrize("name", WRONG_GAMES)
def test_so_are_losses_and_penalties(name, tiny, trainer, digits):
    section, words = WRONG_GAMES[name]
    (line,) = apart([tiny(**section(name))], Resources(lanes=2), digits.domain)
    with pytest.raises(CannotStack, match=words) as told:
        Lanes([trainer(**section(name), seed=seed) for seed in range(2)])
    assert line == f"runs alone, because of {told.value}"


def test_what_is_so_is_stacked(tiny, digits, trainer):
    maker = {"generator": {"name": "own_stacks:Maker"}}
    sections = [
        judged("Judge"),
        judged("Keeps"),
        judged("Told"),
        maker,
        {"generator": maker["generator"] | {"mixture": 2}},
        played("Game"),
        penalised("Slope"),
    ]
    sections += [penalised("Centred"), played("Doubts"), judged("Twice")]
    assert apart([tiny(**each) for each in sections], Resources(lanes=2), digits.domain) == []
    for section in sections:
        Lanes([trainer(**section, seed=seed) for seed in range(2)]).train()


def decaying(seed):
    side = {"name": "adamw", "lr": 1e-2, "weight_decay": 0.5}
    return judged("Spare") | {"optimizer": {"discriminator": side}, "seed": seed}


def test_a_weight_that_no_gradient_reaches_shrinks_neither_alone_nor_in_lanes(tiny, digits, trainer):
    assert apart([tiny(**judged("Spare"))], Resources(lanes=2), digits.domain) == []
    (line,) = apart([tiny(**decaying(0))], Resources(lanes=2), digits.domain)
    assert "no gradient reaches 'spare.bias', 'spare.weight', which adamw would shrink" in line
    with pytest.raises(CannotStack, match="no gradient reaches"):
        Lanes([trainer(**decaying(seed)) for seed in range(2)])


def test_nor_compiled(trainer, tmp_path, as_it_is):
    one, alone = trainer(**decaying(0)), trainer(**decaying(0))
    spare = one.discriminator.spare.weight.detach().clone()
    CompiledLanes([one], cache=tmp_path).train()
    alone.advance()
    assert torch.equal(one.discriminator.spare.weight, spare)
    torch.testing.assert_close(one.discriminator.last.weight, alone.discriminator.last.weight)


def test_what_does_not_stack_is_compiled_each_by_itself(tiny, digits, reference, tmp_path, as_it_is):
    """Whoever comes later, too."""
    pack = FusedPack(lambda config: Trainer(config, digits, reference), compiled=tmp_path, most=2)
    pack.begin([Start(number, tiny(**decaying(number))) for number in range(2)])
    seen = []
    while pack.due():
        for number, report in pack.advance():
            seen.append((report.metrics.get("lanes"), report.metrics.get("compiled")))
            if report.outcome:
                pack.stop([number])
                if number == 0:
                    pack.begin([Start(2, tiny(**decaying(2)))])
    assert seen == [(None, 1)] * 12


@pytest.mark.parametrize("count", [1, 2])
def test_a_compiled_pass_replaces_a_buffer_as_alone(count, trainer, tmp_path, as_it_is):
    section = {"generator": {"name": "own_stacks:Settles"}}
    lanes = CompiledLanes([trainer(**section, seed=seed) for seed in range(count)], cache=tmp_path)
    lanes.train()
    for row in range(count):
        alone = trainer(**section, seed=row)
        theirs, ours = alone.advance(), lanes.report(row)
        kept = lanes.rows[row].trainer.state()["generator"]["middle"]
        torch.testing.assert_close(kept, alone.generator.middle)
        assert ours.metrics["diversity"] == pytest.approx(theirs.metrics["diversity"], rel=1e-3)


def test_so_is_a_judge_of_packs_with_a_penalty(tiny, digits, trainer):
    judge = {"name": "own_stacks:OfAnyPack", "pack": 2}
    section = penalised("Slope") | {"discriminator": judge}
    assert apart([tiny(**section)], Resources(lanes=2), digits.domain) == []
    Lanes([trainer(**section, seed=seed) for seed in range(2)]).train()


def test_a_buffer_that_a_pass_replaces_is_each_training_s_own(tiny, digits, reference, trainer):
    """In checkpoints and where samples are made, and for who takes a place, too."""
    section = {"generator": {"name": "own_stacks:Settles"}}
    together = [trainer(**section, seed=seed) for seed in range(3)]
    alone = [trainer(**section, seed=seed) for seed in range(3)]
    lanes = Lanes(together[:2])

    def next_reports(numbers):
        assert lanes.train() == [0, 1]
        for row, number in enumerate(numbers):
            alone[number].advance()
            lanes.report(row)
            pair = alone[number], together[number]
            kept, other = (each.state()["generator"]["middle"] for each in pair)
            torch.testing.assert_close(kept, other)
            kept, other = (each.reports[-1].metrics["diversity"] for each in pair)
            assert kept == pytest.approx(other, rel=1e-3)

    next_reports([0, 1])
    lanes.take(0, together[2])
    next_reports([2, 1])


def test_a_generator_is_held_to_it_too(tiny, digits):
    config = tiny(generator={"name": "own_stacks:ByTheFront"})
    assert proof.why_unlike(config, digits.domain).startswith(
        "generator: 'own_stacks:ByTheFront': in a"
    )


def test_a_pack_trains_such_as_each_alone(tiny, digits, reference, trainer, caplog):
    sections = [judged("SeesAll") | {"seed": seed} for seed in range(2)]
    pack = FusedPack(lambda config: Trainer(config, digits, reference))
    pack.begin([Start(number, tiny(**each)) for number, each in enumerate(sections)])
    while pack.due():
        for number, report in pack.advance():
            if report.outcome:
                found = pack.trainer(number).discriminator.state_dict()
                alone = trainer(**sections[number])
                while not alone.finished:
                    alone.advance()
                assert "lanes" not in report.metrics
                assert all(map(torch.equal, found.values(), alone.discriminator.state_dict().values()))
                pack.stop([number])
    assert "not as one, but one after another: discriminator: 'own_stacks:SeesAll'" in caplog.text


@pytest.mark.parametrize("joins", [False, True])
@pytest.mark.parametrize("loss", ["OfAll", "Recalls"])
def test_a_loss_that_does_not_stack_is_apart_from_others_that_do(
    loss, joins, pack, tiny, trainer, caplog
):
    """Losses are none of a shape: two of such a kind, with two of ours, or in places that are free."""
    ours = [{"seed": seed} for seed in range(2)]
    theirs = [played(loss) | {"seed": seed} for seed in (2, 3)]
    starts = [Start(number, tiny(**each)) for number, each in enumerate(ours + theirs)]
    pack.begin(starts[:2] if joins else starts)
    curves: dict[int, list] = {}
    found = {}
    while pack.due():
        for number, report in pack.advance():
            curves.setdefault(number, []).append(report)
            if report.outcome:
                found[number] = pack.trainer(number)
                pack.stop([number])
            elif joins and number == 1 and report.step == 10:
                pack.stop([1])
                pack.begin(starts[2:])
    for number in (2, 3):
        assert "lanes" not in curves[number][-1].metrics
        alone = trainer(**theirs[number - 2])
        while not alone.finished:
            alone.advance()
        weights = found[number].generator.state_dict().values()
        assert all(map(torch.equal, weights, alone.generator.state_dict().values()))
    assert curves[0][0].metrics["lanes"] == 2, "and not for the sake of one that does not"
    assert curves[0][-1].outcome is Outcome.COMPLETED
    assert f"not as one, but one after another: loss: 'own_stacks:{loss}'" in caplog.text


def test_a_generator_s_loss_that_is_infinite_is_looked_at(tiny, digits, reference):
    """The discriminator's is finite all the time."""
    section = played("Bursts") | {"budget": {"steps": 60, "report_every": 60}}
    pack = FusedPack(lambda config: Trainer(config, digits, reference))
    pack.begin([Start(number, tiny(**section, seed=number)) for number in range(2)])
    told = pack.advance()
    assert [(report.step, report.outcome) for _, report in told] == [(50, Outcome.DIVERGED)] * 2
    assert told[0][1].metrics["lanes"] == 2


def test_such_are_not_chosen(tiny, digits, reference, tmp_path, monkeypatch):
    monkeypatch.setattr("gansearch.training.stacked.choice.WORTH", 0.0)
    asked = Asked([tiny(**judged("SeesAll"))], [1e6])
    chosen = choose(asked, speeds_of(asked, digits, reference, cache=tmp_path))
    assert list(chosen.values()) == [1]


def test_one_of_a_shape_that_does_not_stack_is_not_measured_for_all(
    tiny, digits, reference, tmp_path, monkeypatch
):
    monkeypatch.setattr("gansearch.training.stacked.choice.WORTH", 0.0)
    asked = Asked([tiny(), tiny(**played("OfAll"))], [1e6, 1e6], most=4)
    (speeds,) = speeds_of(asked, digits, reference, cache=tmp_path).values()
    assert sorted(speeds) == [1, 4]


def test_ours_are_not_tried_and_a_user_s_but_once(tiny, digits, trainer, monkeypatch):
    tried = []
    monkeypatch.setattr(proof, "_found", {})
    monkeypatch.setattr(proof, "_tried", lambda _, name: tried.append(name) or "")
    for section in ({}, judged("Judge"), judged("Judge") | {"seed": 4}):
        assert proof.why_unlike(tiny(**section), digits.domain) == ""
    assert tried == ["own_stacks:Judge"]
    wider = {"discriminator": {"name": "own_stacks:Judge", "width": 16}}
    proof.why_unlike(tiny(**wider), digits.domain)
    assert tried == ["own_stacks:Judge"] * 2
