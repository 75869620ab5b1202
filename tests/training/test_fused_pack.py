"""A pack whose trainings are trained as one: each is, up to rounding, what it would have been alone."""

from __future__ import annotations

import copy
import math
import platform
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from gansearch.data.load import load
from gansearch.losses import LOSSES, is_variational
from gansearch.study.records import Outcome
from gansearch.training.pack import LaneError, Start
from gansearch.training.prepare import prepare
from gansearch.training.stacked import step
from gansearch.training.stacked.pack import FusedPack
from gansearch.training.stacked.parts import Losses
from gansearch.training.stacked.shape import shape_of, why_alone
from gansearch.training.stacked.step import Lanes
from gansearch.training.trainer import Trainer


def plain(rate):
    return {"optimizer": {s: {"name": "sgd", "lr": rate} for s in ("generator", "discriminator")}}


DCGAN = {s: {"name": "dcgan", "depth": 1, "width": 4} for s in ("generator", "discriminator")}
FAMILIES = {
    "non-saturating": {},
    "minimax, rmsprop": {
        "loss": {"name": "minimax"},
        "optimizer": {"discriminator": {"name": "rmsprop"}},
    },
    "hinge, r1": {"loss": {"name": "hinge", "penalty": {"name": "r1"}}},
    "wasserstein, gradient penalty": {
        "loss": {"name": "wasserstein", "penalty": {"name": "gradient-penalty"}},
        "discriminator_steps": 3,
    },
    "dragan": {"loss": {"name": "hinge", "penalty": {"name": "dragan"}}},
    "least squares, batch norm": {
        "loss": {"name": "least-squares"},
        "discriminator": {"name": "mlp", "depth": 1, "width": 16, "norm": "batch"},
    },
    "zero-centred, layer norm": {
        "loss": {"name": "hinge", "penalty": {"name": "zero-centred"}},
        "discriminator": {"name": "mlp", "depth": 2, "width": 16, "norm": "layer"},
    },
    "clipping, no average": {
        "loss": {"name": "wasserstein", "penalty": {"name": "clipping", "bound": 0.05}},
        "discriminator": {"name": "mlp", "depth": 1, "width": 16, "norm": "none"},
        "ema": None,
    },
    "consistency": {"loss": {"name": "hinge", "penalty": {"name": "consistency", "mirror": False}}},
    "lecam": {
        "loss": {"name": "hinge", "penalty": {"name": "lecam", "decay": 0.9}},
        "discriminator_steps": 2,
    },
    "noise that falls": {
        "discriminator": {
            "name": "mlp",
            "depth": 1,
            "width": 16,
            "noise": {"std": 0.5, "schedule": "linear"},
        }
    },
    "augmented": {"discriminator": {"name": "mlp", "depth": 1, "width": 16, "augment": "diffaugment"}},
    "adaptive": {
        "discriminator": {
            "name": "mlp",
            "depth": 1,
            "width": 16,
            "augment": {"name": "ada", "images": 400},
        }
    },
    "packed, real ones asked": {
        "discriminator": {"name": "mlp", "depth": 1, "width": 16, "pack": 4},
        "loss": {"name": "relativistic-average"},
    },
    "mixture": {"generator": {"name": "mlp", "depth": 1, "width": 8, "mixture": 3}},
    "flipped labels": {"loss": {"name": "non-saturating", "flipping": 0.2}},
    "lazy r1, 2 steps": {
        "loss": {"name": "hinge", "penalty": {"name": "r1", "weight": 0.5, "every": 4}},
        "discriminator_steps": 2,
        "unsound": "allow",  # of a single step it is due at the first update alone
    },
    "a penalty that rises": {
        "loss": {
            "name": "hinge",
            "penalty": {"name": "r1", "schedule": {"name": "cosine", "warmup": 0.5}},
        }
    },
    "dcgan": DCGAN,
    "dcgan, batch norms, 2 steps": DCGAN
    | {
        "discriminator": {"name": "dcgan", "depth": 2, "width": 4, "norm": "batch"},
        "discriminator_steps": 2,
    },
    "dcgan, gradient penalty": DCGAN
    | {
        "loss": {"name": "wasserstein", "penalty": {"name": "gradient-penalty"}},
        "discriminator": {"name": "dcgan", "depth": 1, "width": 4, "norm": "layer"},
    },
    "dcgan, spectral generator": DCGAN
    | {"generator": {"name": "dcgan", "depth": 1, "width": 4, "norm": "spectral"}},
    "resnet": {s: {"name": "resnet", "width": 4} for s in ("generator", "discriminator")},
    "r3, r1-r2": {s: {"name": "r3", "width": 4, "blocks": 1} for s in ("generator", "discriminator")}
    | {"loss": {"name": "relativistic-paired", "penalty": {"name": "r1-r2"}}},
    "attention and minibatch std": {
        "generator": {"name": "sndcgan", "depth": 1, "width": 4, "attention": 8},
        "discriminator": {
            "name": "sndcgan",
            "depth": 1,
            "width": 4,
            "attention": 4,
            "minibatch_std": True,
        },
    },
    "sndcgan": {s: {"name": "sndcgan", "depth": 1, "width": 4} for s in ("generator", "discriminator")},
    "relativistic, r1-r2": {"loss": {"name": "relativistic-paired", "penalty": {"name": "r1-r2"}}},
}


@pytest.fixture
def lanes(trainer):
    def make(*sections):
        return Lanes([trainer(**each) for each in sections])

    return make


def distance(one, other):
    """Between all the weights of two trainings, relative to their size."""
    weights = [
        torch.cat(
            [
                p.flatten()
                for side in ("generator", "discriminator")
                for p in getattr(t, side).parameters()
            ]
        )
        for t in (one, other)
    ]
    return ((weights[0] - weights[1]).norm() / weights[1].norm()).item()


LONG = {
    "r3, r1-r2",
    "attention and minibatch std",
    "resnet",
    "sndcgan",
    "dcgan, spectral generator",
}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] if name in LONG else []) for name in FAMILIES]
)
def test_weights_after_a_step_and_after_a_hundred(name, trainer, lanes):
    """By plain gradient descent: what divides gradients by their size magnifies their rounding. At
    steps of 0.05 a `dcgan` is chaotic: 1e-7 on its first weights is 5e-2 after a hundred.
    """
    chaotic = any(kind in name for kind in ("dcgan", "net", "attention"))
    descent = plain(0.003 if chaotic else 0.05)
    for steps, count, bound in ((1, 3, 1e-6), (100, 2, 1e-3)):
        budget = {"budget": {"steps": steps, "report_every": steps}}
        sections = [FAMILIES[name] | descent | budget | {"seed": seed} for seed in range(count)]
        together = lanes(*sections)
        assert together.train() == list(range(count))
        for row, section in enumerate(sections):
            alone = trainer(**section)
            alone.advance()
            assert distance(together.rows[row].trainer, alone) < bound
            assert alone.step == together.rows[row].trainer.step == steps


@pytest.mark.parametrize("norm", ["spectral", "none", "layer"])
@pytest.mark.parametrize("name", ["hinge", "wasserstein", "relativistic-paired"])
def test_what_cancels_alone_cancels_in_lanes(name, norm, trainer, lanes):
    """The gradient of a unit that all samples find in one regime is 0 where a loss is linear; of a
    rounding error in its place Adam would make a whole step.
    """
    judge = {"name": "mlp", "depth": 3, "width": 8, "norm": norm}
    section = {"loss": {"name": name}, "discriminator": judge, "batch_size": 24}
    section |= {"budget": {"steps": 1, "report_every": 1}}
    together = lanes(*(section | {"seed": seed} for seed in range(3)))
    together.train()
    for seed, row in enumerate(together.rows):
        alone = trainer(**section, seed=seed)
        alone.advance()
        pairs = zip(
            row.trainer.discriminator.parameters(), alone.discriminator.parameters(), strict=True
        )
        assert max((ours - theirs).abs().max().item() for ours, theirs in pairs) < 1e-5


@pytest.fixture(scope="module")
def coloured():
    """Images of three channels, which lie otherwise in memory behind a convolution."""
    stacked = {"source": "digits", "digits": 2, "samples": 200}
    return load("stacked-mnist", stacked, root=Path(), split="train")


SHOWN = {
    "noise": {"noise": 0.3},
    "diffaugment": {"augment": "diffaugment"},
    "ada": {"augment": {"name": "ada", "images": 400}},
    "packs": {"pack": 2, "noise": 0.1},
}
PENALTIES_OF_COLOURED = ["dragan", "gradient-penalty", "consistency", "r1-r2"]


@pytest.mark.parametrize("kind", [*SHOWN, *PENALTIES_OF_COLOURED])
def test_coloured_images_are_shown_and_penalised_as_alone(kind, coloured, tiny, places):
    section = {
        "data": {"name": "stacked-mnist", "source": "digits", "digits": 2, "samples": 200},
        "generator": {"name": "dcgan", "width": 4},
        "discriminator": {"name": "dcgan", "width": 4, "norm": "layer"} | SHOWN.get(kind, {}),
        "loss": {"name": "non-saturating"},
        "budget": {"steps": 2, "report_every": 2},
    } | plain(0.05)
    if kind in PENALTIES_OF_COLOURED:
        section["loss"] = {"name": "non-saturating", "penalty": {"name": kind}}
    configs = [tiny(**section, seed=seed) for seed in range(2)]
    reference = prepare(configs[0], coloured, places)
    together = Lanes([Trainer(config, coloured, reference) for config in configs])
    together.train()
    for row, config in zip(together.rows, configs, strict=True):
        alone = Trainer(config, coloured, reference)
        alone.advance()
        assert distance(row.trainer, alone) < 1e-5


@pytest.mark.parametrize("name", FAMILIES)
def test_starts_order_and_noise_are_the_same_to_the_bit(name, trainer, lanes):
    sections = [FAMILIES[name] | {"seed": seed} for seed in range(3)]
    together, alone = lanes(*sections), [trainer(**each) for each in sections]
    for row, one in zip(together.rows, alone, strict=True):
        for ours, theirs in zip(
            row.trainer.generator.parameters(), one.generator.parameters(), strict=True
        ):
            assert torch.equal(ours, theirs)
    together.train()
    for row, one in zip(together.rows, alone, strict=True):
        one.advance()
        for stream in ("noise", "chance"):
            ours, theirs = (getattr(t.inside, stream).get_state() for t in (row.trainer, one))
            assert torch.equal(ours, theirs), stream
    latents = together._latents()
    images, _ = Lanes([row.trainer for row in together.rows])._batch()
    for row, one in enumerate(alone):
        assert torch.equal(latents[row], one._latents(16))
        index = next(one.inside.order.batches(one.batch_number, 1, one.device))
        assert torch.equal(images[row], one.domain.encode(one.inside.samples[index]))


def numbers(report):
    return {k: v for k, v in report.metrics.items() if k not in ("images_per_second", "lanes")}


@pytest.fixture
def pack(digits, reference):
    return FusedPack(lambda config: Trainer(config, digits, reference))


def play(pack, curves, states=None, rounds=1000):
    """Advance a pack, letting go of what has ended."""
    while pack.due() and rounds:
        rounds -= 1
        due = pack.due()
        for number, report in pack.advance():
            assert number in due
            curves.setdefault(number, []).append(report)
            if states is not None:
                states[number] = copy.deepcopy(pack.state(number))
            if report.outcome:
                pack.stop([number])
    return curves


def test_reports_are_those_of_each_alone(pack, tiny, trainer):
    """Of one architecture, with losses, rates, averages and weights of penalties of their own."""
    rate = {"generator": {"lr": 1e-3}, "discriminator": {"lr": 2e-3, "beta1": 0.0}}
    penalty = {"name": "r1", "weight": 0.5}
    sections = [
        {"loss": {"name": "hinge", "penalty": {"name": "r1"}}, "optimizer": rate},
        {"loss": {"name": "minimax", "penalty": penalty}, "ema": 0.9},
        {"loss": {"name": "hinge", "penalty": penalty}, "seed": 5},
        {
            "loss": {"name": "wasserstein", "penalty": penalty},
            "budget": {"steps": 12, "report_every": 4},
        },
    ]
    configs = [tiny(**each) for each in sections]
    assert len({shape_of(config) for config in configs}) == 1
    pack.begin([Start(number, config) for number, config in enumerate(configs)])
    curves = play(pack, {})
    for number, section in enumerate(sections):
        alone = trainer(**section)
        while not alone.finished:
            alone.advance()
        assert [(r.step, r.images, r.outcome) for r in curves[number]] == [
            (r.step, r.images, r.outcome) for r in alone.reports
        ]
        for ours, theirs in zip(curves[number], alone.reports, strict=True):
            assert numbers(ours).keys() == numbers(theirs).keys()
            assert numbers(ours) == pytest.approx(numbers(theirs), rel=5e-2, abs=1e-2)
            assert {k for k in ours.metrics if k not in theirs.metrics} <= {"lanes"}
    assert curves[0][0].metrics["lanes"] == 4


def weights(state):
    return [v for side in ("generator", "discriminator", "averaged") for v in state[side].values()]


def same(one, other):
    pairs = zip(weights(one), weights(other), strict=True)
    return all(torch.equal(a, b) or (a.isnan().equal(b.isnan()) and a.isnan().any()) for a, b in pairs)


def test_one_that_diverges_leaves_the_others_as_they_are_to_the_bit(digits, reference, tiny):
    huge = {"discriminator": {"name": "adam", "lr": 1e30}}
    found = []
    for second in ({}, {"optimizer": huge}):
        pack = FusedPack(lambda config: Trainer(config, digits, reference))
        sections = [{"seed": 0}, {"seed": 1} | second, {"seed": 2}]
        budget = {"budget": {"steps": 120, "report_every": 60}, "loss": {"name": "least-squares"}}
        pack.begin([Start(n, tiny(**each, **budget)) for n, each in enumerate(sections)])
        states: dict = {}
        found.append((play(pack, {}, states), states))
    (calm, calm_states), (wild, wild_states) = found
    assert [r.outcome for r in wild[1]] == [Outcome.DIVERGED]
    assert wild[1][0].step == 50, "where its losses are looked at"
    assert math.isnan(wild[1][0].metrics["d_grad_norm"])
    for number in (0, 2):
        assert [numbers(r) for r in wild[number]] == [numbers(r) for r in calm[number]]
        assert same(wild_states[number], calm_states[number])


def test_where_no_rule_ends_what_is_not_finite_it_reports_with_the_others(pack, tiny):
    off = {"health": {"diverged": False, "collapsed": False, "stalled": False}}
    pack.begin([Start(n, tiny(**each | off, seed=n)) for n, each in enumerate((WILD, LAZY))])
    curves = play(pack, {})
    assert math.isnan(curves[0][0].metrics["d_loss"])
    assert [report.step for report in curves[0]] == [report.step for report in curves[1]]


def test_what_is_not_finite_at_its_report_is_due_once(lanes):
    budget = {"budget": {"steps": 50, "report_every": 50}}
    together = lanes(WILD | budget, LAZY | budget | {"seed": 1})
    assert together.train() == [0, 1]
    assert [together.report(number).outcome for number in (0, 1)] == [
        Outcome.DIVERGED,
        Outcome.COMPLETED,
    ]


def test_one_is_amid_a_stretch_until_it_has_reported(lanes):
    together = lanes({}, {"seed": 1})
    first, second = (row.trainer for row in together.rows)
    amid = [[together.is_amid(each) for each in (first, second)]]
    together.train()
    for number in (None, 0, 1):
        if number is not None:
            together.report(number)
        amid.append([together.is_amid(each) for each in (first, second)])
    assert amid == [[False, False], [True, True], [False, True], [False, False]]


def test_a_place_that_is_free_is_taken_by_the_next_and_the_rest_goes_on(pack, tiny, digits, reference):
    states: dict = {}
    curves: dict = {}
    pack.begin([Start(n, tiny(seed=n)) for n in range(3)])
    play(pack, curves, states, rounds=2)
    (group,) = pack._groups.values()
    before = group.lanes
    pack.stop([1])
    pack.begin([Start(7, tiny(seed=7))])
    play(pack, curves, states, rounds=1)
    assert group.rows == [0, 7, 2]
    assert group.lanes is before
    play(pack, curves, states)
    assert [len(curves[n]) for n in (0, 1, 2, 7)] == [4, 2, 4, 4]
    whole: dict = {}
    other = FusedPack(lambda config: Trainer(config, digits, reference))
    other.begin([Start(n, tiny(seed=n)) for n in (7, 0)])
    play(other, {}, whole)
    assert same(states[0], whole[0]), "whoever the others are"


def alike(curve, alone):
    """Whether reports in lanes are those of a training alone, up to rounding."""
    while not alone.finished:
        alone.advance()
    assert [report.step for report in curve] == [report.step for report in alone.reports]
    for ours, theirs in zip(curve, alone.reports, strict=True):
        assert numbers(ours) == pytest.approx(numbers(theirs), rel=2e-2, abs=1e-2)


def test_who_takes_a_place_begins_with_nothing_of_who_had_it(pack, tiny, trainer):
    """The one before stops amid a stretch of its own, with losses and logits gathered."""
    rare = {"budget": {"steps": 20, "report_every": 20}, "loss": {"name": "wasserstein"}}
    pack.begin([Start(0, tiny(seed=0)), Start(1, tiny(seed=1, **rare)), Start(2, tiny(seed=2))])
    curves = play(pack, {}, rounds=2)
    pack.stop([1])
    pack.begin([Start(7, tiny(seed=7))])
    alike(play(pack, curves)[7], trainer(seed=7))


def test_who_joins_leaves_the_others_amid_their_stretches(pack, tiny, trainer):
    """Reports fall on different steps; one more training makes a pack of three of a pack of two."""
    budgets = [{"budget": {"steps": 20, "report_every": every}} for every in (4, 10, 5)]
    sections = [budget | {"seed": seed} for seed, budget in enumerate(budgets)]
    starts = [Start(number, tiny(**section)) for number, section in enumerate(sections)]
    pack.begin(starts[:2])
    curves = play(pack, {}, rounds=1)
    assert [len(curves.get(n, [])) for n in range(2)] == [1, 0]
    pack.begin(starts[2:])
    play(pack, curves)
    for number, section in enumerate(sections):
        alike(curves[number], trainer(**section))
    assert curves[1][0].metrics["lanes"] == 3


def test_who_is_left_amid_a_stretch_goes_on_alone_after_its_report(pack, tiny, digits, reference):
    """What a report tells is in how many lanes it was trained at most; after it, bits are as alone."""
    sections = {"loss": {"name": "least-squares"}, "budget": {"steps": 180, "report_every": 60}}
    wild = {"optimizer": {"discriminator": {"name": "adam", "lr": 1e30}}}
    pack.begin([Start(0, tiny(**sections, **wild)), Start(1, tiny(**sections, seed=1))])
    curves = play(pack, {}, rounds=1)
    assert curves[0][0].outcome is Outcome.DIVERGED
    states: dict = {}
    play(pack, curves, states, rounds=1)
    alone = Trainer(tiny(**sections, seed=1), digits, reference)
    alone.load(copy.deepcopy(states[1]))
    told = pack.trainer(1).provenance()["lanes"]["over"]
    assert told.endswith("2 at 1 report")
    play(pack, curves, states)
    assert [report.metrics.get("lanes") for report in curves[1]] == [2, None, None]
    while not alone.finished:
        alone.advance()
    assert same(states[1], alone.state())


@pytest.mark.parametrize("reports", [1, math.inf])
def test_whose_worker_has_died_is_alone_until_it_reports(reports, pack, tiny):
    """A report that was not heard, and is told again, was made before the death."""
    first = FusedPack(pack._make)
    first.begin([Start(0, tiny(seed=0))])
    first.advance()
    state = copy.deepcopy(first.state(0))
    starts = [Start(n, tiny(seed=n), alone=reports) for n in range(3)]
    starts[0] = replace(starts[0], latest=lambda: state)
    pack.begin(starts)
    curves = play(pack, {})
    assert [report.step for report in curves[0]] == [5, 10, 15, 20]
    lanes = [[report.metrics.get("lanes") for report in curves[number]] for number in range(3)]
    if reports == 1:
        assert [each[0] for each in lanes] == [None] * 3
        assert lanes[0][1] is None
        assert None not in lanes[1][2:]
        assert lanes[1][-1] == 3
    else:
        assert lanes == [[None] * 4] * 3


def test_each_of_the_discriminators_steps_counts(pack, tiny, trainer):
    sections = [{"discriminator_steps": 2, "seed": seed} for seed in range(2)]
    pack.begin([Start(number, tiny(**section)) for number, section in enumerate(sections)])
    curves = play(pack, {})
    for number, section in enumerate(sections):
        alone = trainer(**section)
        alike(curves[number], alone)
        assert [r.images for r in curves[number]] == [r.images for r in alone.reports]


PLAIN_LOSSES = [
    {"name": "non-saturating"},
    {"name": "hinge"},
    {"name": "non-saturating", "smoothing": 0.2},
    {"name": "non-saturating"},
]
RELATIVISTIC = [{"name": f"relativistic-{kind}"} for kind in ("paired", "average", "paired")]


@pytest.mark.parametrize("asked", [PLAIN_LOSSES, RELATIVISTIC])
def test_each_has_its_own_loss_of_its_own_options(asked, trainer):
    """Kinds in no order, two that differ in an option alone; or such as ask for real logits."""
    trainers = [trainer(loss=each, seed=seed) for seed, each in enumerate(asked)]
    losses = Losses(trainers, torch.device("cpu"))
    real, fake = torch.randn(2, len(asked), 6, generator=torch.Generator().manual_seed(0))
    assert losses.g_uses_real == (asked is RELATIVISTIC)
    compared = real if losses.g_uses_real else None
    found = zip(losses.d(real, fake), losses.g(compared, fake), real, fake, trainers, strict=True)
    for d, g, own_real, own_fake, each in found:
        loss = each.inside.loss
        assert d == pytest.approx(loss.d(own_real, own_fake))
        assert g == pytest.approx(loss.g(own_real if loss.g_uses_real else None, own_fake))


def test_averages_follow_each_by_its_own_decay(trainer, lanes):
    sections = [
        plain(0.05) | {"seed": seed, "ema": decay} for seed, decay in enumerate((0.3, 0.9, 0.3))
    ]
    together = lanes(*sections)
    together.train()
    for row, section in zip(together.rows, sections, strict=True):
        alone = trainer(**section)
        alone.advance()
        pairs = zip(row.trainer.averaged.parameters(), alone.averaged.parameters(), strict=True)
        assert all(torch.allclose(ours, theirs, rtol=1e-4, atol=1e-6) for ours, theirs in pairs)


@pytest.mark.parametrize("name", ["sgd", "adam", "rmsprop"])
def test_each_has_its_own_schedules_and_bounds_of_gradients(name, trainer, lanes):
    """In rows whose steps differ, since one has begun before."""

    def sides(schedule, clip):
        return {"name": name, "lr": 0.01, "schedule": schedule, "clip": clip}

    given = [
        {"generator": sides("linear", 0.01), "discriminator": sides({"warmup": 0.5}, None)},
        {"generator": sides(None, None), "discriminator": sides("cosine", 0.05)},
        {
            "generator": sides({"name": "cosine", "warmup": 0.2}, None),
            "discriminator": sides(None, 0.1),
        },
    ]
    budget = {"budget": {"steps": 12, "report_every": 6}}
    sections = [{"optimizer": each, "seed": seed} | budget for seed, each in enumerate(given)]
    before = trainer(**sections[2])
    before.advance()
    together = Lanes([*(trainer(**each) for each in sections[:2]), before])
    assert together.train() == [0, 1, 2]
    for row, section in zip(together.rows, sections, strict=True):
        alone = trainer(**section)
        while alone.step < row.trainer.step:
            alone.advance()
        assert distance(row.trainer, alone) < (1e-6 if name == "sgd" else 1e-4)
        for side in ("g_descent", "d_descent"):
            rates = [
                getattr(t.inside, side).optimizer.param_groups[0]["lr"] for t in (row.trainer, alone)
            ]
            assert rates[0] == rates[1]


def test_a_gradient_without_bounds_keeps_what_is_infinite(trainer):
    """A row that is not clipped is as it would be alone, whatever its gradient is."""
    bound = {"generator": {"name": "sgd", "lr": 0.01, "clip": 0.1}}
    free = {"generator": {"name": "sgd", "lr": 0.01}}
    together = Lanes([trainer(optimizer=each) for each in (bound, free)])
    gradients = together._generator.gradients
    gradients.fill_(math.inf)
    together._g_descents.step([0, 0])
    assert gradients[0].isnan().all()
    assert gradients[1].isposinf().all()


def test_losses_that_ask_for_real_samples_are_apart(tiny):
    """One pass more moves power iterations and batch norm on: of those alone that have it."""
    plain, paired, average = (
        shape_of(tiny(loss={"name": name}))
        for name in ("hinge", "relativistic-paired", "relativistic-average")
    )
    assert paired == average != plain


@pytest.mark.parametrize("name", LOSSES.names)
def test_each_loss_has_a_shape_and_those_of_one_are_trained_as_one(name, tiny):
    config = tiny(loss={"name": name})
    alone = [name for name in LOSSES.names if is_variational(name)]
    assert bool(why_alone(config)) == (name in alone)
    assert all(shape_of(config) != shape_of(tiny(loss={"name": other})) for other in {*alone} - {name})


def test_a_lazy_penalty_is_due_for_all_or_they_are_alone(tiny):
    def lazy(every, report_every):
        loss = {"name": "hinge", "penalty": {"name": "r1", "every": every}}
        return tiny(loss=loss, budget={"steps": 12, "report_every": report_every})

    assert why_alone(lazy(2, 4)) == ""
    assert why_alone(lazy(3, 4)).startswith("loss.penalty.every: the 4 updates from report to report")
    assert shape_of(lazy(2, 4)) != shape_of(lazy(2, 6))


@pytest.mark.parametrize("name", ["adam", "rmsprop", "momentum"])
def test_a_lazy_penalty_s_update_is_one_of_all_weights(name, trainer, lanes):
    """Of the last bias, too, on which no slope depends: its average goes on with the others'."""
    one = {"name": "sgd", "momentum": 0.9} if name == "momentum" else {"name": name}
    lazy = {
        "loss": {"name": "hinge", "penalty": {"name": "r1", "weight": 0.5, "every": 4}},
        "optimizer": {side: {"lr": 1e-3, **one} for side in ("generator", "discriminator")},
        "budget": {"steps": 20, "report_every": 20},
    }
    together = lanes(*(lazy | {"seed": seed} for seed in range(2)))
    together.run(20)
    for seed, row in enumerate(together.rows):
        alone = trainer(**lazy, seed=seed)
        alone._train_to(20)
        assert distance(row.trainer, alone) < 1e-6


LAZY = {
    "loss": {"name": "least-squares", "penalty": {"name": "r1", "weight": 5.0, "every": 16}},
    "budget": {"steps": 320, "report_every": 160},
    **plain(0.02),
}
WILD = LAZY | plain(1e30)


def test_who_joins_others_amid_the_turns_of_a_lazy_penalty_waits(pack, tiny, trainer):
    """Where one has diverged, at step 50, others are amid: by whom would the penalty be due?"""
    pack.begin([Start(0, tiny(**WILD)), Start(1, tiny(**LAZY, seed=1))])
    curves = play(pack, {}, rounds=1)
    assert [(report.step, report.outcome) for report in curves[0]] == [(50, Outcome.DIVERGED)]
    pack.begin([Start(2, tiny(**LAZY, seed=2))])
    states: dict = {}
    play(pack, curves, states)
    assert [report.metrics.get("lanes") for report in curves[1]] == [2, 2], "and then they are as one"
    assert curves[2][0].metrics["lanes"] == 2
    for number in (1, 2):
        alone = trainer(**LAZY, seed=number)
        while not alone.finished:
            alone.advance()
        ours = trainer(**LAZY, seed=number)
        ours.load(states[number])
        assert distance(ours, alone) < 1e-5


def remembered(state):
    return [value.item() for value in state["observed"].values()]


def test_what_a_penalty_remembers_is_each_training_s_own(pack, tiny, trainer):
    """Also where another has taken a row, and where one goes on alone from its checkpoint."""

    def section(number):
        penalty = {"name": "lecam", "weight": 0.3 + number / 10, "decay": 0.5 + number / 10}
        return {"loss": {"name": "hinge", "penalty": penalty}, "seed": number, "discriminator_steps": 2}

    states: dict = {}
    curves: dict = {}
    pack.begin([Start(n, tiny(**section(n))) for n in range(3)])
    play(pack, curves, states, rounds=2)
    pack.stop([1])
    pack.begin([Start(4, tiny(**section(4)))])
    play(pack, curves, states, rounds=1)
    halfway = {number: copy.deepcopy(state) for number, state in states.items()}
    play(pack, curves, states)
    assert len({tuple(remembered(state)) for state in states.values()}) == 4
    for number in (0, 2, 4):
        alone = trainer(**section(number))
        alike(curves[number], alone)
        assert remembered(states[number]) == pytest.approx(remembered(alone.state()), rel=1e-2)
        alone = trainer(**section(number))
        alone.load(halfway[number])
        alike(curves[number], alone)
        assert remembered(states[number]) == pytest.approx(remembered(alone.state()), rel=1e-2)


def test_a_training_s_seconds_are_its_share(trainer, lanes, monkeypatch):
    now = [0.0]
    together = lanes(*({"seed": seed, "discriminator_steps": 2} for seed in range(3)))
    train = together._train
    monkeypatch.setattr(
        together, "_train", lambda steps: now.__setitem__(0, now[0] + 6.0) or train(steps)
    )
    monkeypatch.setattr(step.time, "perf_counter", lambda: now[0])
    together.train()
    assert [row.seconds for row in together.rows] == [2.0] * 3
    report = together.report(1)
    assert report.seconds == 2.0, "its evaluation takes no time on this clock"
    assert report.metrics["images_per_second"] == report.images / 2.0
    assert [row.seconds for row in together.rows] == [2.0, 0.0, 2.0]


MEMORY = """
import resource, sys, torch
from benchmarks.gpu_checks import trainer
from gansearch.training.stacked.step import Lanes

torch.set_num_threads(1)
wide = {"name": "mlp", "width": 128, "depth": 3}
sections = {"generator": wide, "discriminator": wide, "batch_size": 64}
sections["budget"] = {"steps": 100, "report_every": 100}
lanes = Lanes([trainer("cpu", **sections, seed=seed) for seed in range(8)])
lanes.run(5)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
lanes.run(5)
print((resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) / 5)
print("sympy" in sys.modules, "torch._dynamo" in sys.modules)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library does otherwise")
def test_a_step_asks_the_system_for_no_memory_anew_and_loads_no_compiler():
    """In a process of its own, as a worker is: 700 pages a step otherwise, each cleared first, and
    half a second in each process.
    """
    told = subprocess.run([sys.executable, "-c", MEMORY], capture_output=True, text=True, check=True)
    pages, loaded = told.stdout.splitlines()
    assert float(pages) < 200
    assert loaded == "False False"


def test_a_convolution_of_nan_leaves_the_others_as_they_are_to_the_bit(lanes):
    """Among as many: a grouped convolution adds up in an order that depends on how many they are."""
    huge = {"optimizer": {"generator": {"lr": 1e30}, "discriminator": {"lr": 1e30}}}
    common = DCGAN | {"budget": {"steps": 20, "report_every": 20}}
    found = []
    for second in ({}, huge):
        together = lanes(*(common | {"seed": n} | (second if n == 1 else {}) for n in range(3)))
        together.run(20)
        found.append([row.trainer.state() for row in together.rows])
    calm, wild = found
    assert not all(value.isfinite().all() for value in weights(wild[1]))
    assert same(wild[0], calm[0])
    assert same(wild[2], calm[2])


def test_convolutions_go_on_as_they_would_have(pack, tiny, digits, reference):
    uninterrupted: dict = {}
    starts = [Start(n, tiny(seed=n, **DCGAN)) for n in range(4)]
    pack.begin(starts)
    play(pack, {}, uninterrupted)
    states: dict = {}
    first, second = (FusedPack(lambda config: Trainer(config, digits, reference)) for _ in range(2))
    first.begin(starts)
    play(first, {}, states, rounds=2)
    second.begin([replace(s, heard=10, latest=lambda n=s.number: states[n]) for s in starts])
    play(second, {}, states)
    assert all(same(states[n], uninterrupted[n]) for n in range(4))


def test_from_packs_into_others_and_alone_and_back(pack, tiny, digits, reference, trainer):
    def new():
        return FusedPack(lambda config: Trainer(config, digits, reference))

    uninterrupted: dict = {}
    pack.begin([Start(n, tiny(seed=n)) for n in range(4)])
    play(pack, {}, uninterrupted)
    states: dict = {}
    curves: dict = {}
    first = new()
    first.begin([Start(n, tiny(seed=n)) for n in range(4)])
    play(first, curves, states, rounds=2)
    halves = [new(), new()]
    for numbers_, half in zip(([2, 0], [1, 3]), halves, strict=True):
        half.begin([Start(n, tiny(seed=n), 10, lambda n=n: states[n]) for n in numbers_])
        play(half, curves, states)
    for number in range(4):
        assert same(states[number], uninterrupted[number]), "to the bit in packs of two and more"
    assert [r.step for r in curves[1]] == [5, 10, 15, 20]
    alone, moved = trainer(seed=1), trainer(seed=1)
    while not alone.finished:
        alone.advance()
    lane = Lanes([moved, trainer(seed=2)])
    lane.train()
    lane.report(0)
    one = trainer(seed=1)
    one.load(moved.state())
    while not one.finished:
        one.advance()
    assert distance(one, alone) < 1e-3


def test_a_state_tells_of_modules_versions_as_alone(pack, tiny, trainer):
    """By which a module of a user's may tell how to load it (`_load_from_state_dict`)."""
    pack.begin([Start(number, tiny(seed=number)) for number in range(2)])
    pack.advance()
    alone = trainer().state()
    for network in ("generator", "discriminator", "averaged"):
        assert pack.state(0)[network]._metadata == alone[network]._metadata


def test_a_state_holds_no_more_than_its_own(pack, tiny, tmp_path):
    from gansearch.training import checkpoint

    pack.begin([Start(n, tiny(seed=n)) for n in range(6)])
    pack.advance()
    together = checkpoint.save(tmp_path, 5, pack.state(0)).stat().st_size
    alone = FusedPack(pack._make)
    alone.begin([Start(0, tiny(seed=0))])
    alone.advance()
    assert together < 1.1 * checkpoint.save(tmp_path, 6, alone.state(0)).stat().st_size


def tensors(trainer):
    """Storage -> bytes of all that a training holds: weights, gradients, averages, states."""
    held = [*trainer.generator.parameters(), *trainer.discriminator.parameters()]
    held += [parameter.grad for parameter in held if parameter.grad is not None]
    held += trainer.averaged.parameters()
    for optimizer in (trainer.inside.g_descent.optimizer, trainer.inside.d_descent.optimizer):
        held += [value for state in optimizer.state.values() for value in state.values()]
    return {each.untyped_storage().data_ptr(): each.untyped_storage().nbytes() for each in held}


@pytest.mark.parametrize("name", ["adam", "sgd"])
def test_a_training_that_goes_on_in_lanes_holds_nothing_twice(name, trainer):
    """What it had alone is free at once: its weights and states are in the row that it has."""
    optimizer = {"name": name} | ({"momentum": 0.5} if name == "sgd" else {})
    section = {"optimizer": {"generator": optimizer, "discriminator": optimizer}}
    trainers = [trainer(seed=seed, **section) for seed in range(3)]
    for each in trainers[1:]:
        each.advance()
    alone = sum(tensors(trainers[1]).values())
    together = Lanes(trainers[:2])
    together.take(0, trainers[2])
    stores = tensors(trainers[1]) | tensors(trainers[2])
    flat = [
        part.untyped_storage().data_ptr()
        for side in (together._generator, together._discriminator)
        for part in (side.weights, *side.optimizer.states.values())
    ]
    own = stores.keys() - {*flat, together._averages.untyped_storage().data_ptr()}
    assert sum(stores[key] for key in own) < 0.01 * alone, "the numbers of steps alone"


def test_an_error_in_one_is_its_own(digits, reference, tiny):
    class Bad(Trainer):
        def _measure(self, window):
            if self.config.seed == 1 and self.step == 10:
                raise KeyError("a bug of the user's")
            return super()._measure(window)

    pack = FusedPack(lambda config: Bad(config, digits, reference))
    pack.begin([Start(n, tiny(seed=n)) for n in range(3)])
    curves: dict = {}
    with pytest.raises(LaneError) as caught:
        play(pack, curves)
    assert caught.value.number == 1
    assert isinstance(caught.value.__cause__, KeyError)
    pack.stop([1])
    play(pack, curves)
    assert [[r.step for r in curves[n]] for n in (0, 1, 2)] == [[5, 10, 15, 20], [5], [5, 10, 15, 20]]
    assert not math.isnan(curves[2][1].metrics["d_grad_norm"])


def test_those_that_cannot_be_together_are_trained_in_turn(pack, tiny, trainer, caplog):
    sections = [
        {"seed": 0, "generator": {"name": "mlp", "depth": 2, "width": 16}},
        {
            "seed": 1,
            "generator": {"name": "mlp", "depth": 1, "width": 16, "mixture": 2, "diversity": 0.5},
        },
        {"seed": 2},
        {"seed": 3},
    ]
    pack.begin([Start(n, tiny(**each)) for n, each in enumerate(sections)])
    curves = play(pack, {})
    assert "generator.diversity" in caplog.text
    assert [len(curves[n]) for n in range(4)] == [4] * 4
    assert [curves[n][0].metrics.get("lanes") for n in range(4)] == [None, None, 2, 2]
    for number in (0, 1):
        alone = trainer(**sections[number])
        while not alone.finished:
            alone.advance()
        assert [numbers(r) for r in curves[number]] == [numbers(r) for r in alone.reports]


def test_for_want_of_memory_one_is_held_at_a_time(pack, tiny):
    states: dict = {}
    curves: dict = {}
    pack.begin([Start(n, tiny(seed=n), latest=lambda n=n: states.get(n)) for n in range(3)])
    assert not pack.release()
    play(pack, curves, states, rounds=1)
    assert pack.release()
    assert not pack.release()
    play(pack, curves, states)
    assert [[r.step for r in curves[n]] for n in range(3)] == [[5, 10, 15, 20]] * 3
    assert [r.metrics.get("lanes") for r in curves[1]] == [3, None, None, None]


def test_shapes_are_of_what_must_be_alike(tiny):
    penalty = {"name": "gradient-penalty", "weight": 10.0, "target": 1.0}

    def penalised(**options):
        return {"loss": {"name": "wasserstein", "penalty": penalty | options}}

    base = shape_of(tiny())
    for section in (
        {"seed": 3},
        {"loss": {"name": "hinge"}},
        {"optimizer": {"generator": {"lr": 1.0}}},
        {"ema": 0.5},
        {"budget": {"steps": 10, "report_every": 5}},
    ):
        assert shape_of(tiny(**section)) == base
        assert not why_alone(tiny(**section))
    assert shape_of(tiny(**penalised(weight=1.0))) == shape_of(tiny(**penalised()))
    shapes = [
        shape_of(tiny(**section))
        for section in (
            {},
            {"batch_size": 8},
            {"latent_size": 4},
            {"discriminator_steps": 2},
            {"precision": "bfloat16"},
            {"deterministic": True},
            penalised(),
            penalised(target=0.0),
            {"loss": {"name": "wasserstein", "penalty": {"name": "dragan"}}},
            {"loss": {"name": "wasserstein", "penalty": {"name": "r1"}}},
            {"optimizer": {"generator": {"name": "sgd"}}},
            {"optimizer": {"discriminator": {"name": "sgd"}}},
            {"ema": None},
            {"discriminator": {"name": "mlp", "depth": 1, "width": 16, "norm": "batch"}},
            {"generator": {"name": "mlp", "depth": 1, "width": 8}},
        )
    ]
    assert len(set(shapes)) == len(shapes)


def test_each_is_kept_within_its_own_bounds(trainer, lanes):
    judge = {"discriminator": {"name": "mlp", "depth": 1, "width": 16, "norm": "none"}}
    sections = [
        judge | {"loss": {"name": "wasserstein", "penalty": {"name": "clipping", "bound": bound}}}
        for bound in (0.01, 0.1)
    ]
    together = lanes(*sections)
    together.run(1)
    for row, section in zip(together.rows, sections, strict=True):
        alone = trainer(**section)
        alone._train_to(1)
        assert distance(row.trainer, alone) < 1e-6


def test_every_key_of_a_configuration_is_known_to_the_stacked_step(tiny):
    """One that is added changes what a step does, or not: it is handled in `step`, or `why_alone`."""
    config = tiny(loss={"name": "hinge", "penalty": {"name": "r1"}})
    known = {
        "TrialConfig": "data generator discriminator loss optimizer latent_size batch_size "
        "discriminator_steps ema precision budget evaluation objective health deterministic seed "
        "unsound",
        "Generator": "name mixture diversity weights freeze",
        "Discriminator": "name augment noise pack weights freeze",
        "Loss": "name penalty",
        "Penalty": "name every schedule",
        "Optimizer": "name schedule clip",
    }
    for part in (
        config,
        config.generator,
        config.generator,
        config.discriminator,
        config.loss,
        config.loss.penalty,
        config.optimizer.generator,
    ):
        kind = type(part)
        assert sorted(kind.model_fields) == sorted(known[kind.__name__].split())
