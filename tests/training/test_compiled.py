"""Compiled steps: the step as one function is that of each training alone, and so is its code."""

from __future__ import annotations

import copy
import math
from functools import partial

import pytest
import torch
from test_fused_pack import FAMILIES, distance, play
from torch import nn, optim

from gansearch.networks.mlp import Discriminator
from gansearch.training.compiled import code, step
from gansearch.training.compiled.code import Code, Recorder
from gansearch.training.compiled.rules import OPTIONS, rule_of, setting
from gansearch.training.compiled.step import CompiledLanes
from gansearch.training.compiled.whole import Given
from gansearch.training.compiled.why import CannotCompile, why_uncompiled
from gansearch.training.pack import Start
from gansearch.training.stacked import optimizers
from gansearch.training.stacked.pack import FusedPack
from gansearch.training.stacked.shape import why_alone
from gansearch.training.trainer import Trainer


def uncompiled(key, whole, changing, arguments, close, cache):
    """In place of `code_of`: the step as it is, called as its code would be."""
    recorder = Recorder(arguments[0].device)
    whole(*(each.clone() for each in changing), *arguments, draws=recorder)
    count = len(changing) + len(arguments)
    run = lambda *given: whole(*given[:count], draws=Given(given[count:]))  # noqa: E731
    return Code(run, recorder.drawn)


@pytest.fixture
def as_it_is(monkeypatch):
    monkeypatch.setattr(step, "code_of", uncompiled)


PLAIN = {"optimizer": {s: {"name": "sgd", "lr": 0.05} for s in ("generator", "discriminator")}}
WIDE = {"name": "mlp", "depth": 1, "width": 16}
BY_CLASS = {s: {**WIDE, "conditional": True} for s in ("generator", "discriminator")}
UNCOMPILED = (
    "lecam",
    "noise that falls",
    "augmented",
    "adaptive",
    "packed, real ones asked",
    "flipped labels",
    "lazy r1, 2 steps",
    "a penalty that rises",
)
KINDS = {name: each for name, each in FAMILIES.items() if name not in UNCOMPILED} | {
    "conditional": BY_CLASS,
    "momentum": {"optimizer": {s: {"name": "sgd", "lr": 0.01, "momentum": 0.5} for s in BY_CLASS}},
    "several discriminator steps": {"discriminator_steps": 3},
}
ALONE = {
    "dcgan": {s: {"name": "dcgan", "width": 4} for s in BY_CLASS},
    "dcgan, spectral": {
        "generator": {"name": "dcgan", "width": 4},
        "discriminator": {"name": "dcgan", "width": 4, "norm": "spectral"},
    },
    "resnet, conditional batch norm": {
        "generator": {
            "name": "resnet",
            "width": 4,
            "conditional": True,
            "norm": "conditional-batch",
        },
        "discriminator": {"name": "resnet", "width": 4, "conditional": True},
    },
    "bfloat16": {"precision": "bfloat16"},
}


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("name", [*KINDS, *ALONE])
def test_the_step_as_one_function_is_that_of_each_alone(name, count, trainer, tmp_path, as_it_is):
    sections = (KINDS | ALONE)[name]
    if count > 1 and (reason := why_alone(trainer(**sections).config)):
        pytest.skip(reason)
    plain = {} if "optimizer" in sections else PLAIN
    budget = {"budget": {"steps": 3, "report_every": 3}}
    each = [sections | plain | budget | {"seed": seed} for seed in range(count)]
    together = CompiledLanes([trainer(**one) for one in each], cache=tmp_path)
    assert together.train() == list(range(count))
    for row, one in enumerate(each):
        alone = trainer(**one)
        theirs = alone.advance()
        ours = together.report(row)
        # At such steps a `dcgan` is chaotic: see `test_fused_pack.py`.
        loose = {"bfloat16": 1e-2, "rmsprop": 1e-4, "dcgan": 1e-5}
        bound = next((loose[kind] for kind in loose if kind in name), 3e-6)
        assert distance(together.rows[row].trainer, alone) < bound
        for stream in ("noise", "chance"):
            states = [
                getattr(t.inside, stream).get_state() for t in (together.rows[row].trainer, alone)
            ]
            assert torch.equal(*states), stream
        for key in ("d_loss", "g_loss", "d_grad_norm", "g_grad_norm", "d_accuracy", "g_weight_growth"):
            assert ours.metrics[key] == pytest.approx(theirs.metrics[key], rel=100 * bound), key
        assert ours.metrics["compiled"] == 1
        average = [
            torch.cat([p.flatten() for p in t.averaged.parameters()])
            for t in (together.rows[row].trainer, alone)
        ]
        assert torch.allclose(*average, rtol=0, atol=10 * bound)


def test_lanes_of_losses_rates_and_weights_of_their_own(trainer, tmp_path, as_it_is):
    rates = {"generator": {"lr": 1e-3}, "discriminator": {"lr": 2e-3, "beta1": 0.0}}
    r1 = {"name": "r1", "weight": 0.5}
    each = [
        {"loss": {"name": "hinge", "penalty": {"name": "r1"}}, "optimizer": rates},
        {"loss": {"name": "minimax", "penalty": r1}, "ema": 0.9},
        {"loss": {"name": "hinge", "penalty": r1}, "seed": 5},
    ]
    together = CompiledLanes([trainer(**one) for one in each], cache=tmp_path)
    together.run(4)
    for row, one in zip(together.rows, each, strict=True):
        alone = trainer(**one)
        alone._train_to(4)
        assert distance(row.trainer, alone) < 1e-4
    spoilt = CompiledLanes([trainer(**one) for one in each], cache=tmp_path)
    with torch.no_grad():
        next(spoilt.rows[1].trainer.generator.parameters()).fill_(math.nan)
    spoilt.run(4)
    for row in (0, 2):
        assert distance(spoilt.rows[row].trainer, together.rows[row].trainer) == 0


def trained(one, until=6, *, cache):
    """A training alone, compiled, up to a step, with its reports."""
    lanes = CompiledLanes([one], cache=cache)
    while one.step < until:
        lanes.train()
        lanes.report(0)
    lanes.give(0)
    return one


def test_it_goes_on_from_its_state_to_the_bit_and_from_there_without(trainer, tmp_path, as_it_is):
    budget = {"budget": {"steps": 12, "report_every": 4}}

    run = partial(trained, cache=tmp_path)
    whole, half = run(trainer(**budget), 12), run(trainer(**budget), 8)
    resumed, otherwise = trainer(**budget), trainer(**budget)
    state = copy.deepcopy(half.state())
    resumed.load(state)
    assert distance(run(resumed, 12), whole) == 0
    assert [r.metrics["d_loss"] for r in resumed.reports] == [
        r.metrics["d_loss"] for r in whole.reports
    ]
    otherwise.load(state)
    otherwise.advance()
    assert 0 < distance(otherwise, whole) < 1e-3
    assert otherwise.finished


@pytest.mark.parametrize(
    "make",
    [
        lambda p, k: optimizers.optimizers.Adam(p, lr=10.0 ** -(3 + k), betas=(0.5, 0.9 + k / 100)),
        lambda p, k: optimizers.optimizers.AdamW(p, lr=1e-3, weight_decay=0.1 * k, fused=True),
        lambda p, k: optim.RMSprop(p, lr=10.0 ** -(3 + k), alpha=0.9 + k / 100),
        lambda p, k: optim.SGD(p, lr=1e-2, momentum=0.3 * k),
        lambda p, k: optim.SGD(p, lr=10.0 ** -(1 + k)),
    ],
    ids=["adam", "adamw", "rmsprop", "momentum", "sgd"],
)
def test_rules_are_torchs(make):
    chance = torch.Generator().manual_seed(0)
    alone = [nn.Parameter(torch.randn(20, generator=chance)) for _ in range(3)]
    theirs = [make([p], k) for k, p in enumerate(alone)]
    weights = torch.stack([p.detach() for p in alone])
    places = [(0, alone[0].shape)]
    stacked = optimizers.rule_of(theirs[0])(theirs, weights, torch.zeros_like(weights), places)
    rule = rule_of(stacked)
    states = dict(stacked.states) | {"step": torch.zeros(3, 1, dtype=torch.float64)}
    settings = {
        option: torch.tensor([[setting(o, option)] for o in theirs], dtype=torch.float64)
        for option in OPTIONS[rule]
    }
    for _ in range(1000):
        gradients = torch.randn(3, 20, generator=chance) + 0.1
        for p, g, optimizer in zip(alone, gradients, theirs, strict=True):
            p.grad = g
            optimizer.step()
        weights = rule(weights, gradients, states, settings)
    for row, p in zip(weights, alone, strict=True):
        assert torch.allclose(row, p, rtol=1e-5, atol=1e-5)


class Dropping(Discriminator):
    """Draws random numbers by itself."""

    compiles = True

    def forward(self, samples, labels=None):
        return nn.functional.dropout(super().forward(samples, labels), 0.5, self.training)


class Counting(Discriminator):
    """Does something else at each call, and says that it does not."""

    compiles = True
    calls = 0

    def forward(self, samples, labels=None):
        type(self).calls += 1
        return super().forward(samples, labels) * type(self).calls


class Silent(Discriminator):
    """Says nothing."""


MINE = __name__


@pytest.mark.parametrize(
    ("sections", "reason"),
    [
        ({"discriminator": {"name": f"{MINE}:Silent"}}, f"discriminator: {MINE}.Silent does not say"),
        ({"discriminator": {**WIDE, "noise": 0.1}}, "discriminator.noise"),
        ({"loss": {"name": "hinge", "penalty": {"name": "lecam"}}}, "loss.penalty: lecam remembers"),
        ({"generator": {**WIDE, "mixture": 2, "diversity": 0.5}}, "generator.diversity"),
        ({"loss": {"name": "hinge", "penalty": {"name": "r1", "every": 2}}}, "loss.penalty.every"),
        ({}, ""),
        ({"discriminator": {"name": f"{MINE}:Dropping"}}, ""),
    ],
)
def test_what_is_not_compiled_is_told(sections, reason, tiny):
    assert why_uncompiled(tiny(**sections)).startswith(reason)
    assert bool(why_uncompiled(tiny(**sections))) == bool(reason)


@pytest.mark.parametrize("name", UNCOMPILED)
def test_what_lanes_carry_besides_is_not_compiled(name, trainer, tmp_path):
    """Whichever of the trainings asks for it."""
    both = [trainer(loss=FAMILIES[name].get("loss", {"name": "hinge"})), trainer(**FAMILIES[name])]
    with pytest.raises(CannotCompile):
        CompiledLanes(both, cache=tmp_path)


def test_a_network_that_draws_by_itself_is_not_compiled(trainer, tmp_path):
    drawing = trainer(discriminator={"name": f"{MINE}:Dropping", "width": 8})
    with pytest.raises(CannotCompile, match="draws random numbers by itself"):
        CompiledLanes([drawing], cache=tmp_path)


def step_of_three(changing, argument, *, draws):
    return [changing.mul_(1), 1 * argument, 3 * argument]


@pytest.mark.parametrize("wrong", [math.nan, math.inf, 2.0])
@pytest.mark.parametrize("place", [0, 1, 2])
def test_code_whose_numbers_are_others_is_refused(place, wrong, tmp_path, monkeypatch):
    def miscompiled(step, count, device):
        def run(changing, *given):
            found = [changing, *step(changing, *given, draws=None)[1:]]
            found[place].fill_(wrong)
            return found

        return run

    monkeypatch.setattr(code, "_by_inductor", miscompiled)
    ones = torch.ones(2)
    with pytest.raises(CannotCompile, match="from those of the step as it is"):
        code.code_of(f"{place} {wrong}", step_of_three, [ones], [ones], 1e-3, tmp_path)


def test_where_no_code_can_be_kept_nothing_is_compiled(tmp_path):
    """So a pack trains in lanes all the same, where another node has no folder at the driver's path."""
    (tmp_path / "file").touch()
    ones = torch.ones(2)
    with pytest.raises(CannotCompile, match="FileExistsError"):
        code.code_of("kept nowhere", step_of_three, [ones], [ones], 1e-3, tmp_path / "file")


def test_a_pack_trains_what_is_not_compiled_as_before(tiny, digits, reference, tmp_path, caplog):
    def curves(**options):
        pack = FusedPack(lambda config: Trainer(config, digits, reference), **options)
        configs = [tiny(), tiny(discriminator={**WIDE, "noise": 0.1})]
        pack.begin([Start(number, config) for number, config in enumerate(configs)])
        return play(pack, {})

    def refuse(*_):
        raise CannotCompile("there is no compiler here")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(step, "code_of", refuse)
        ours = curves(compiled=tmp_path, fuses=lambda _: False)
    theirs = curves(fuses=lambda _: False)
    told = [record.message for record in caplog.records]
    assert "not compiled: there is no compiler here" in told
    assert "not compiled, discriminator.noise" in told
    for number in (0, 1):
        assert [r.metrics["d_loss"] for r in ours[number]] == [
            r.metrics["d_loss"] for r in theirs[number]
        ]
        assert "compiled" not in ours[number][0].metrics


def test_a_pack_compiles_each_alone_and_full_packs(tiny, digits, reference, tmp_path, as_it_is):
    pack = FusedPack(lambda config: Trainer(config, digits, reference), compiled=tmp_path, most=3)
    ends = [20, 10, 5]
    configs = [tiny(seed=s, budget={"steps": e, "report_every": 5}) for s, e in enumerate(ends)]
    configs.append(tiny(**ALONE["dcgan"]))
    pack.begin([Start(number, config) for number, config in enumerate(configs)])
    curves = play(pack, {})
    seen = [[(r.metrics.get("lanes"), r.metrics.get("compiled")) for r in curves[n]] for n in range(4)]
    assert seen[0] == [(3, 1), (2, None), (None, 1), (None, 1)]
    assert seen[1] == [(3, 1), (2, None)]
    assert seen[2] == [(3, 1)]
    assert seen[3] == [(None, 1)] * 4
    for number, config in enumerate(configs):
        alone = Trainer(config, digits, reference)
        while not alone.finished:
            theirs = alone.advance()
        assert curves[number][-1].step == theirs.step
        assert curves[number][-1].metrics["d_loss"] == pytest.approx(theirs.metrics["d_loss"], rel=0.01)


@pytest.mark.slow
def test_compiled_for_real(trainer, tmp_path, monkeypatch):
    """One shape with a gradient penalty: a graph, the same numbers, one code for all its trainings."""
    monkeypatch.setattr(code, "_KNOWN", {})
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR", raising=False)
    penalised = {"loss": {"name": "wasserstein", "penalty": {"name": "gradient-penalty"}}}
    budget = {"budget": {"steps": 6, "report_every": 3}}
    sections = penalised | budget

    run = partial(trained, cache=tmp_path)
    ours, alone = run(trainer(**sections, **PLAIN)), trainer(**sections, **PLAIN)
    for _ in range(2):
        alone.advance()
    assert distance(ours, alone) < 1e-5
    (made,) = code._KNOWN.values()
    assert made.seconds > 0
    assert list((tmp_path / "inductor").rglob("*.so"))  # machine code, and not the step as it is
    half = run(trainer(**sections, **PLAIN), 3)
    resumed = trainer(**sections, **PLAIN)
    resumed.load(copy.deepcopy(half.state()))
    assert distance(run(resumed), ours) == 0
    heavier = penalised["loss"]["penalty"] | {"weight": 2.0}
    other = {"loss": {"name": "wasserstein", "penalty": heavier}, "seed": 7} | budget
    other["optimizer"] = {side: {"name": "sgd", "lr": 0.01} for side in PLAIN["optimizer"]}
    ours, alone = run(trainer(**other)), trainer(**other)
    for _ in range(2):
        alone.advance()
    assert distance(ours, alone) < 1e-5
    assert list(code._KNOWN.values()) == [made]
    assert ours.provenance()["compiled"]["over"].startswith("1: the step was compiled")
    assert len(ours.reports) == 2
