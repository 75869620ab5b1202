"""What the user believes of the axes: drawn around, trusted less and less, and not at all if wrong."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gansearch.errors import InvalidInput
from gansearch.search import SAMPLERS
from gansearch.search.beliefs import SHARE, WIDTH, Beliefs
from gansearch.search.contract import Tried
from gansearch.search.units import unit_of, value_at
from gansearch.study.axes import Choice, Float, Int
from gansearch.study.document import parse_document
from gansearch.study.plan import Belief, Sampler
from gansearch.study.records import Outcome
from gansearch.study.space import Space
from gansearch.training.validation import read_study
from studies import STUDY

SPACE = Space(
    {
        "lr": Float(1e-5, 1e-1, log=True, default=1e-4),
        "beta": Float(0.0, 1.0),
        "depth": Int(1, 9, default=2),
        "loss": Choice({"a": "a", "b": {"weight": Float(0.1, 100, log=True)}, "c": "c"}, "a"),
    }
)
AXES = SPACE.axes()
DEFAULT = {"lr": 1e-4, "beta": 0.5, "depth": 2, "loss": "a"}
FAR = {"lr": 1e-1, "beta": 0.5, "depth": 9, "loss": "c"}


@given(
    st.sampled_from(
        [Float(-3.0, 8.0), Float(1e-6, 10.0, log=True), Int(-2, 7), Choice({"a": 1, 2: 2})]
    ),
    st.floats(0, 1),
)
def test_a_value_lies_where_it_was_taken_from(axis, unit):
    value = value_at(axis, unit)
    there = unit_of(axis, value)
    assert 0 <= there <= 1
    if isinstance(axis, Float):
        assert value_at(axis, there) == pytest.approx(value)
        assert there == pytest.approx(unit, abs=1e-9)
    else:
        assert value_at(axis, there) == value


def beliefs(belief="strong", goal="min"):
    return Beliefs(AXES, belief, goal)


def test_points_around_the_defaults_are_near_them_and_lie_in_the_space():
    chance, believed = np.random.default_rng(0), beliefs()
    points = [believed.around({"beta": 0.5}, SPACE, chance) for _ in range(400)]
    assert all(point["beta"] == 0.5 for point in points)  # no belief: the sampler's
    decades = [math.log10(point["lr"]) for point in points]
    assert np.mean(decades) == pytest.approx(-4, abs=0.1)  # cut off at -5, a little above
    assert np.std(decades) == pytest.approx(0.5, abs=0.1)
    assert 0.55 < np.mean([point["loss"] == "a" for point in points]) < 0.78  # 2/3 of three
    assert {point["loss"] for point in points} == {"a", "b", "c"}
    assert all(("loss.b.weight" in point) == (point["loss"] == "b") for point in points)
    near = [believed.nearness(point) for point in points]
    assert np.median(near) > 0.8
    assert believed.nearness(DEFAULT) == 1.0
    assert believed.nearness(FAR) < 1e-6


def test_nearness_is_how_likely_a_point_is_beside_the_default():
    """Of labels their shares; of numbers the density beyond the deviation of what is drawn around."""
    loss = Beliefs({"loss": AXES["loss"]}, "strong", "min")
    assert loss.nearness({"loss": "a"}) == 1.0
    assert loss.nearness({"loss": "c"}) == pytest.approx((1 / 6) / (2 / 3))
    beta = Beliefs({"beta": Float(0.0, 1.0, default=0.5)}, "strong", "min")
    for deviations, likely in ((0, 1), (1, 1), (-2, math.exp(-1.5)), (3, math.exp(-4))):
        assert beta.nearness({"beta": 0.5 + WIDTH * deviations}) == pytest.approx(likely)


def test_an_axis_that_a_point_has_not_is_neither_near_nor_far():
    weight = Float(0.1, 100.0, log=True, default=1.0)
    space = Space({"loss": Choice({"a": "a", "b": {"weight": weight}}, "a")})
    believed = Beliefs(space.axes(), "strong", "min")
    assert believed.nearness({"loss": "a"}) == 1.0
    far = believed.nearness({"loss": "b", "loss.b.weight": 100.0})
    assert far < believed.nearness({"loss": "b", "loss.b.weight": 1.0}) < 1.0


def test_a_default_label_is_drawn_half_of_the_time_more_than_by_chance():
    units = [(i + 0.5) / 600 for i in range(600)]
    chance = SimpleNamespace(random=iter(units).__next__)
    space = Space({"loss": Choice({"a": "a", "b": "b", "c": "c"}, "a")})
    drawn = Counter(
        Beliefs(space.axes(), "weak", "min").around({}, space, chance)["loss"] for _ in units
    )
    assert drawn == {"a": 400, "b": 100, "c": 100}


def test_the_share_does_no_more_than_fade_where_the_defaults_do_no_worse():
    for values in (lambda near: 1.0, lambda near: 1.0 if near else 2.0):  # as good, and better
        believed = beliefs()
        for i in range(8):
            near = i < 2
            believed.add(i, Tried(i, DEFAULT if near else FAR, value=values(near)))
        assert believed.share == pytest.approx(0.4 * 20 / 28)


def test_the_share_fades_as_trials_end_and_is_the_same_in_any_order():
    assert [beliefs(b).share for b in SHARE] == [0.0, 0.1, 0.2, 0.4]
    trials = [Tried(i, DEFAULT if i % 2 else FAR, value=float(i // 2)) for i in range(60)]
    shares = []
    believed, other = beliefs(), beliefs()
    for trial in trials:
        believed.add(trial.number, trial)
        shares.append(believed.share)
    for trial in reversed(trials):
        other.add(trial.number, trial)
    assert other.share == believed.share
    assert shares[19] == pytest.approx(0.4 / 2, rel=0.15)  # near and far are alike
    assert shares[-1] == pytest.approx(0.4 / 4, rel=0.15)


@pytest.mark.parametrize("goal", ["min", "max"])
def test_a_belief_that_is_wrong_is_soon_given_up(goal):
    believed, rightly = beliefs(goal=goal), beliefs(goal=goal)
    sign = 1 if goal == "min" else -1
    for i in range(8):
        bad = i % 2 == 0
        believed.add(i, Tried(i, DEFAULT if bad else FAR, value=sign * (10.0 if bad else 1.0)))
        rightly.add(i, Tried(i, FAR if bad else DEFAULT, value=sign * (10.0 if bad else 1.0)))
    assert believed.share < 0.1
    assert rightly.share > 0.25
    failing = beliefs(goal=goal)
    for i in range(8):
        failing.add(
            i, Tried(i, DEFAULT if i % 2 else FAR, value=None if i % 2 else 5.0, failed=bool(i % 2))
        )
    assert failing.share < 0.1


def test_the_reference_tells_the_shares():
    words = {0.0: "none", 0.1: "one", 0.2: "two", 0.4: "four"}
    told = ", ".join(words[SHARE[belief]] for belief in get_args(Belief))
    assert f"({told} in ten)" in " ".join((Sampler.__doc__ or "").split())


def test_without_defaults_and_without_trust_nothing_is_believed():
    bare = {"lr": Float(1e-5, 1e-1, log=True)}
    assert Beliefs(bare, "strong", "min").share == 0.0
    assert beliefs("none").share == 0.0


SIDES = ("generator", "discriminator")
BELIEVING = STUDY.replace("{log: [1e-5, 1e-1]}", "{log: [1e-5, 1e-1], default: 1e-3}")


def read(text, changes=""):
    return read_study(parse_document(text + changes, "s.yaml"), Path())[0]


def played(make_ledger, spec, trials, report, value_of):
    ledger = make_ledger(spec)
    for number in range(trials):
        record = ledger.next()
        ledger.report(number, report(90, value_of(record), Outcome.COMPLETED))
        ledger.end(number)
    return [record.params for record in ledger.records.values()]


@pytest.mark.parametrize("name", SAMPLERS.names)
def test_every_sampler_draws_around_defaults_and_a_resumed_one_the_same(
    make_ledger, report, tmp_path, monkeypatch, name
):
    monkeypatch.setitem(SHARE, "strong", 0.6)  # so many that few trials show it

    def value(record):
        return abs(math.log10(record.params["optimizer.generator.lr"]) + 3)

    trials = 15 if name == "gp" else 30  # it takes tenths of a second for a proposal
    text = BELIEVING.replace(
        "{trials: 8}", f"{{trials: {trials}, sampler: {{name: {name}, belief: strong}}}}"
    )
    points = played(make_ledger, read(text), trials, report, value)
    sides = [f"optimizer.{side}.lr" for side in SIDES]
    near = [all(abs(math.log10(point[side]) + 3) < 1 for side in sides) for point in points[:15]]
    assert sum(near) >= 6  # by chance a quarter
    (tmp_path / "runs" / "study").rename(tmp_path / "runs" / "before")
    for _ in range(3):
        ledger = make_ledger(read(text))
        for number in range(len(ledger.records), len(ledger.records) + trials // 3):
            record = ledger.next()
            ledger.report(number, report(90, value(record), Outcome.COMPLETED))
            ledger.end(number)
    assert [record.params for record in ledger.records.values()] == points


def test_trials_that_wait_speak_against_a_belief_and_do_so_after_a_restart(make_ledger, report):
    spec = read(BELIEVING.replace("{trials: 8}", "{trials: 30, sampler: {name: tpe, belief: strong}}"))
    ledger = make_ledger(spec)
    for number in range(12):
        record = ledger.next()
        far = sum(abs(math.log10(record.params[f"optimizer.{side}.lr"]) + 3) for side in SIDES)
        ledger.report(number, report(10, 10.0 - far))
        ledger.pause(number, "at step 10")
    assert ledger.source._beliefs.share < 0.4 / 2
    woken = ledger.wake(0, "at step 10").number
    ledger.report(woken, report(20, 0.0))
    assert make_ledger(spec).source._beliefs.share == ledger.source._beliefs.share


def rate(record):
    return record.params["optimizer.generator.lr"]


def test_without_defaults_all_beliefs_propose_the_same(make_ledger, report, tmp_path):
    points = []
    for belief in ("none", "strong"):
        text = STUDY.replace("{trials: 8}", f"{{trials: 30, sampler: {{name: tpe, belief: {belief}}}}}")
        points.append(played(make_ledger, read(text), 14, report, rate))
        (tmp_path / "runs" / "study").rename(tmp_path / "runs" / belief)
    assert points[0] == points[1]


def test_a_default_moves_the_default_configuration():
    text = BELIEVING.replace("    - hinge\n", "    - hinge\n    - non-saturating\n")
    spec = read(text)
    assert spec.default.optimizer.generator.options["lr"] == 1e-3
    assert spec.start[0].point["optimizer.generator.lr"] == 1e-3
    assert spec.start[0].point["loss"] == "non-saturating"
    wasserstein = text.replace("loss:\n  choice:", "loss:\n  default: wasserstein\n  choice:").replace(
        "weight: {log: [0.1, 100]}", "weight: {log: [0.1, 100], default: 3}"
    )
    spec = read(wasserstein)
    assert spec.start[0].point["loss"] == "wasserstein"
    assert spec.start[0].point["loss.wasserstein.penalty.weight"] == 3.0
    again = read(spec.to_yaml())
    assert again == spec
    assert dict(again.space.describe())["loss"].endswith("default wasserstein")


def test_a_default_inside_the_option_that_is_the_part_s_own_default():
    rates = "lr: {log: [1e-5, 1e-1], default: 3e-3}"
    either = f"{{choice: [{{name: rmsprop, lr: 1e-3}}, {{name: adam, {rates}}}]}}"
    text = STUDY.replace("{lr: {log: [1e-5, 1e-1]}}", either).replace("- hinge", "- non-saturating")
    spec = read(text)
    assert spec.start[0].point["optimizer.generator"] == "adam"
    assert spec.start[0].point["optimizer.generator.adam.lr"] == 3e-3
    assert spec.default.optimizer.discriminator.options["lr"] == 3e-3


@pytest.mark.parametrize(
    ("axis", "said"),
    [
        ("{log: [1e-5, 1e-1], default: 1}", "lr.default: 1 is not in log [1e-05, 0.1]"),
        ("{log: [1e-5, 1e-1], default: low}", 'lr.default: "low" is not in log [1e-05, 0.1]'),
        ("{choice: [1e-3, 1e-4], default: 1e-5}", "lr.default: 1e-05 is not in choice [0.001, 0.0001]"),
        (
            "{same: optimizer.discriminator.lr, default: 1e-4}",
            "lr.default: follows optimizer.discriminator.lr: give that one a default",
        ),
    ],
)
def test_a_default_that_is_not_on_its_axis_is_refused(axis, said):
    text = STUDY.replace("generator: {lr: {log: [1e-5, 1e-1]}}", f"generator: {{lr: {axis}}}", 1)
    with pytest.raises(InvalidInput) as caught:
        read(text)
    (found,) = caught.value.problems
    assert str(found).endswith(said)
