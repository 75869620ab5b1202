"""The sampler that learns from curves: its places, its Gaussian process, and what it proposes."""

import math
import random
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest
import scipy.stats
import yaml

from gansearch.search.contract import Tried
from gansearch.search.curves import (
    APART,
    LIKE,
    MODELLED,
    TURN,
    Curves,
    _by_value,
    _factor,
    _Model,
    _solved,
    _triangle,
)
from gansearch.search.feasibility import encoded
from gansearch.search.ground import Ground
from gansearch.search.units import value_at
from gansearch.study.axes import Choice, Float, Int
from gansearch.study.config import trial_seed
from gansearch.study.notation import parse_space
from gansearch.study.space import Space

MIXED = """
loss:
  choice:
    - {name: a}
    - {name: b, weight: {log: [0.001, 1000]}, p: {choice: [null, {name: p, every: {int: [1, 4]}}]}}
    - {name: c, weight: {log: [0.001, 1000]}}
lr: {log: [1.0e-5, 0.1]}
depth: {int: [1, 3]}
"""


@pytest.fixture(scope="module")
def mixed():
    return Space(parse_space(yaml.safe_load(MIXED))[0])


def at_random(space, chance):
    return space.point(lambda _, axis: value_at(axis, chance.random()))


@dataclass
class Shown:
    """What has been tried, for a proposal."""

    trials: list
    number: int = 0
    seed: int = 0
    minimize: bool = True


def proposal(space, trials, number, seed=0, minimize=True, **options):
    shown = Shown(trials, number, seed, minimize)
    return next(Curves(trial_seed(seed, number, "proposal"), True, **options).draws(shown, space))


def ended(number, point, values, **what):
    """A trial that reported every ten steps, with its best so far."""
    return Tried(
        number,
        point,
        value=values[-1],
        curve=dict(zip(range(10, 1000, 10), values, strict=False)),
        **what,
    )


# Places


def test_many_points_are_coded_as_one_is(mixed):
    ground, chance = Ground(mixed), np.random.default_rng(0)
    units = chance.random((200, len(ground)))
    expected = [encoded(mixed.axes(), ground.point(row)) for row in units]
    assert ground.coded(units) == pytest.approx(np.array(expected), abs=1e-12)
    assert {len(ground.point(row)) for row in units} == {3, 4, 5, 6}, "of every kind"


def test_a_place_is_where_its_point_is(mixed):
    ground, chance = Ground(mixed), random.Random(0)
    for _ in range(100):
        point = at_random(mixed, chance)
        again = ground.point(ground.place(point))
        assert again.keys() == point.keys()
        assert all(
            again[name] == (pytest.approx(v) if isinstance(v, float) else v)
            for name, v in point.items()
        )


def test_around_a_point_numbers_move_a_little_and_options_seldom(mixed):
    ground, chance = Ground(mixed), np.random.default_rng(0)
    units = np.full(len(ground), 0.4)
    units[0] = 0.1  # the loss without a weight
    point = ground.point(units)
    near = ground.around(point, (0.1,), 4000, chance)
    assert (near >= 0).all()
    assert (near < 1).all()
    names = list(mixed.axes())
    lr = near[:, names.index("lr")]
    assert (lr.mean(), lr.std()) == (pytest.approx(0.4, abs=0.01), pytest.approx(0.1, rel=0.05))
    losses = [ground.point(row)["loss"] for row in near[:1000]]
    assert losses.count("a") == pytest.approx(1000 * (0.9 + 0.1 / 3), rel=0.05)
    weights = near[:, names.index("loss.b.weight")]
    assert weights.std() == pytest.approx(1 / math.sqrt(12), rel=0.05), "the point says nothing of it"


def test_of_a_point_each_option_is_exchanged(mixed):
    ground = Ground(mixed)
    names, units = list(mixed.axes()), np.full(len(Ground(mixed)), 0.4)
    units[names.index("loss")] = 0.1  # the loss without a weight
    point = ground.point(units)
    exchanged = [ground.point(row) for row in ground.exchanged(point)]
    assert [other["loss"] for other in exchanged] == ["b", "c"]
    assert all(other["lr"] == pytest.approx(point["lr"]) for other in exchanged)
    both = ground.exchanged(exchanged[0])
    assert len(both) == 3, "of the loss and of the penalty that comes with it"
    assert not len(Ground(lr_space()).exchanged({"g": 1e-3, "d": 1e-3}))


def test_alike_is_what_has_the_same_options_and_nearly_the_same_numbers(mixed):
    ground = Ground(mixed)
    here = np.full((1, len(ground)), 0.5)
    moved, other = here.copy(), here.copy()
    moved[0, list(mixed.axes()).index("lr")] += 0.1
    other[0, list(mixed.axes()).index("loss")] = 1 / 6
    assert ground.alike(here, np.concatenate([here, moved, other]), 0.15).tolist() == [
        [True, True, False]
    ]
    assert not ground.alike(here, moved, 0.05).any()


# The model


def model_of(ground, known):
    return _Model(ground, known, _by_value(known, minimize=True), minimize=True)


def test_the_improvement_is_that_of_the_textbook(mixed):
    chance = random.Random(1)
    known = [
        ended(
            n,
            at_random(mixed, chance),
            sorted((10 * chance.random() for _ in range(length)), reverse=True),
            pruned=length < 9,
        )
        for n, length in enumerate((9, 1, 3, 9, 2, 1))
    ]
    known.append(Tried(6, at_random(mixed, chance), failed=True))
    ground = Ground(mixed)
    model = model_of(ground, known)
    points = ground.coded(np.random.default_rng(0).random((5, len(ground))))
    expected = np.zeros(5)
    for weight, kernel in zip(model._weights, model._kernels, strict=True):
        one = SimpleNamespace(**{name: value.squeeze() for name, value in vars(kernel).items()})

        def between(x, age, who, y, other, whose, one=one):
            gaps = np.array([np.sum((x[c] - y[c]) ** 2) / (c.stop - c.start) for c in ground.columns])
            gaps[[axis.__class__ is Choice for axis in mixed.axes().values()]] *= APART
            near = math.exp(-np.sum(gaps / one.scales**2) / 2)
            aged = math.exp(-((age - other) ** 2) / one.age**2 / 2)
            own = one.own if who == whose else 0.0
            return near * (one.place + one.pace * aged) + (one.common + own) * aged

        told = [(model._points[t], age, t) for t, age in zip(model._trials, model._ages, strict=True)]
        own = np.array([[between(*a, *b) for b in told] for a in told]) + one.noise * np.eye(len(told))
        inverse = np.linalg.inv(own)
        best = min(
            np.array([between(x, 0.0, t, *b) for b in told]) @ inverse @ model._values
            for t, x in enumerate(model._points)
        )
        for i, point in enumerate(points):
            cross = np.array([between(point, 0.0, None, *b) for b in told])
            mean, variance = (
                cross @ inverse @ model._values,
                between(point, 0, 9, point, 0, 9) - cross @ inverse @ cross,
            )
            normal = scipy.stats.norm(best - mean, math.sqrt(variance))
            expected[i] += weight * normal.expect(lambda gain: gain, lb=0)
    assert model.improvement(model.gaps(points)) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("count", [1, 2, 7, 8])
def test_a_factor_of_half_a_matrix_solves_as_that_of_the_whole(count):
    chance = np.random.default_rng(count)
    whole = np.cov(chance.random((count, 3 * count))).reshape(count, count) + 0.1 * np.eye(count)
    rows, columns, diagonal = _triangle(count)
    half = whole[rows, columns]
    assert len(half) == count * (count + 1) // 2
    _factor(half, count)
    root, values = np.linalg.cholesky(whole), chance.random((count, 5))
    assert half[diagonal].prod() == pytest.approx(np.diagonal(root).prod())
    told = _solved(half, values.copy())
    assert told == pytest.approx(np.linalg.solve(root, values))
    assert _solved(half, told, transposed=True) == pytest.approx(np.linalg.solve(whole, values))


def test_what_is_no_covariance_is_not_factored():
    with pytest.raises(ValueError, match="not positive definite"):
        _factor(np.array([1.0, 2.0, 1.0])[_triangle(2)[0] + _triangle(2)[1]], 2)


def test_what_is_modelled_of_curves(mixed):
    chance = random.Random(0)
    curve = [float(value) for value in range(20, 0, -1)]
    point = at_random(mixed, chance)
    known = [
        ended(0, point, curve),
        ended(1, point, curve[:7], pruned=True),
        ended(2, point, curve[:7], failed=True),
        Tried(3, point, failed=True),
        ended(4, point, curve[:2], running=True),
    ]
    model = model_of(Ground(mixed), known)
    steps = np.round(200 * np.exp(model._ages)).astype(int)
    told = [[int(s) for s, t in zip(steps, model._trials, strict=True) if t == n] for n in range(5)]
    assert told[0] == [10, 30, 90, 200]
    assert told[1] == [10, 30, 70]
    assert told[2] == [10, 30, 200], "one that ended keeps what it has"
    assert told[3] == [200]
    assert told[4] == [10, 20]
    assert model._values[list(model._trials).index(3)] == model._values.max(), "as bad as the worst"


def test_of_many_trials_the_best_have_whole_curves(mixed):
    chance = random.Random(0)
    known = [
        ended(n, at_random(mixed, chance), [n + 100.0 / i for i in range(1, 41)], pruned=bool(n % 3))
        for n in range(60)
    ]
    model = model_of(Ground(mixed), known)
    values = [int((model._trials == n).sum()) for n in range(60)]
    assert len(model._values) <= MODELLED < len(model._values) + 5
    assert values == sorted(values, reverse=True), "the lower the number, the better"
    assert (values[0], values[-1]) == (5, 1)
    few = model_of(Ground(mixed), known[:20])
    assert len(few._values) == 20 * 5


# What is proposed


def lr_space():
    rate = Float(1e-5, 1e-1, log=True)
    return Space({"g": rate, "d": rate})


def miss(point):
    return sum((math.log10(point[side]) - at) ** 2 for side, at in (("g", -3), ("d", -2.2)))


def test_it_finds_an_optimum_sooner_than_chance():
    space, chances = lr_space(), []
    for seed in range(5):
        trials = []
        for number in range(20):
            point = proposal(space, trials, number, seed)
            trials.append(ended(number, point, [1 + miss(point)]))
        chances.append(min(trial.value for trial in trials) - 1)
    drawn = np.random.default_rng(0).random((5000, 20, 2)) * 4 - 5
    by_chance = np.median(np.square(drawn - (-3, -2.2)).sum(2).min(1))
    assert np.median(chances) < by_chance / 4


@pytest.mark.parametrize("minimize", [True, False])
def test_a_slow_start_is_no_bad_sign_where_slow_starts_have_ended_well(minimize):
    """Large rates begin well and end badly; most of the small ones were stopped at once."""
    space, chance, trials = lr_space(), random.Random(0), []
    sign = 1 if minimize else -1
    for number in range(24):
        point = at_random(space, chance)
        slow = math.log10(point["g"]) < -3
        whole = [20.0 - 1.9 * i for i in range(10)] if slow else [12.0 - 0.3 * i for i in range(10)]
        length = 10 if chance.random() < 0.3 else 1
        values = [sign * (value + 0.1 * chance.random()) for value in whole[:length]]
        trials.append(ended(number, point, values, pruned=length < 10))
    assert sum(math.log10(t.point["g"]) < -3 and not t.pruned for t in trials) >= 2
    points = [proposal(space, trials, 24, seed, minimize) for seed in range(8)]
    assert sum(math.log10(point["g"]) < -3 for point in points) >= 7


def test_an_option_that_fared_ill_elsewhere_is_tried_with_the_best():
    """As batches of 128 in the quickstart: each trial that had them had bad rates as well."""
    space = Space({"batch": Choice({n: n for n in (32, 64, 128)}), **dict(lr_space().axes())})

    def value(point):
        return 1 + miss(point) - 0.5 * (point["batch"] == 128)

    bad = [(32, 1e-5, 1e-1), (128, 1e-1, 1e-5), (128, 2e-5, 1e-5), (32, 1e-1, 1e-1)]
    points = [{"batch": b, "g": g, "d": d} for b, g, d in [(64, 1e-3, 4e-3), *bad]]
    trials = [ended(n, point, [value(point)]) for n, point in enumerate(points)]
    for number in range(len(trials), 16):
        point = proposal(space, trials, number)
        trials.append(ended(number, point, [value(point)]))
    ground = Ground(space)
    best = min(trials[:5], key=lambda trial: trial.value)
    for number in (5, 10):
        units = ground.place(trials[number].point)[None]
        near = np.array([ground.place(trial.point) for trial in trials[:number]])
        exchanged = np.concatenate([ground.exchanged(trial.point) for trial in trials[:number]])
        assert ground.alike(units, exchanged, 1e-6).any(), "one option of another's, and nothing else"
        assert not ground.alike(units, near, LIKE).any()
    assert trials[5].point["g"] == pytest.approx(best.point["g"])
    assert min(trials, key=lambda trial: trial.value).point["batch"] == 128


def test_what_was_exchanged_is_not_again():
    space = Space({"batch": Choice({n: n for n in (32, 64)}), **dict(lr_space().axes())})
    here = {"batch": 64, "g": 1e-3, "d": 4e-3}
    trials = [ended(n, here, [5.0]) for n in range(5)]
    assert proposal(space, trials, 2 * TURN) == pytest.approx(here | {"batch": 32})
    trials.append(Tried(5, {**here, "batch": 32}, running=True))
    assert proposal(space, trials, 2 * TURN) != pytest.approx(here | {"batch": 32})


def test_what_is_known_is_tried_again_last():
    space = Space({"loss": Choice({name: name for name in "abcd"}), "depth": Int(1, 3)})
    trials = []
    for number in range(12):
        point = proposal(space, trials, number)
        trials.append(ended(number, point, [10.0 - 3 * (point["loss"] == "b") + point["depth"]]))
    modelled = {tuple(trial.point.items()) for trial in trials[5:]}
    assert len(modelled) == 7
    everything = {(("loss", label), ("depth", depth)) for label in "abcd" for depth in (1, 2, 3)}
    left = everything - {tuple(trial.point.items()) for trial in trials}
    for number in range(12, 12 + len(left)):
        point = proposal(space, trials, number)
        assert tuple(point.items()) in left
        left.remove(tuple(point.items()))
        trials.append(ended(number, point, [5.0]))
    assert proposal(space, trials, len(trials)), "and then again"
