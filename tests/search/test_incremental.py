"""What the pruners keep up to date from report to report, against its plain definition."""

import math
import random
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from gansearch.search.forecast import Forecast
from gansearch.search.gains import KERNELS, SPREAD, Gains, Places
from gansearch.search.halving import Account, Asha, Rung
from gansearch.search.hyperband import Hyperband
from gansearch.search.pruners import Decision
from gansearch.study.config import TrialConfig
from gansearch.study.evaluation import Budget, Objective
from gansearch.study.records import Outcome, Report, TrialRecord

EVERY, REPORTS, FACTOR = 10, 9, 3


def config(goal="min"):
    budget = Budget(steps=EVERY * REPORTS, report_every=EVERY)
    return TrialConfig(budget=budget, objective=Objective(metric="m", goal=goal))


@settings(deadline=None)
@given(some.integers(0, 10**9), some.integers(2, 5))
def test_a_rung_ranks_as_if_it_were_sorted_each_time(seed, factor):
    chance, rung = random.Random(seed), Rung(10)
    worth, score = {}, {}
    for _ in range(40):
        what, number = chance.choice(("enter", "enter", "leave", "score", "rank")), chance.randrange(12)
        cost = float(chance.choice([1, 2, 3, 4.5]))  # ties are likely
        if what == "enter" and number not in worth:
            rung.enter(number, -cost)
            worth[number] = score[number] = -cost
        elif what == "leave":
            rung.leave(number)
            worth.pop(number, None), score.pop(number, None)
        elif what == "score" and number in worth:
            rung.score(number, {number: cost})
            score[number] = -cost if rung.foreseen else score[number]
        elif what == "rank":
            costs = {n: float(chance.randint(1, 4)) for n in worth} if chance.random() < 0.7 else {}
            rung.rank_by(costs)
            score = {n: -costs.get(n, -worth[n]) for n in worth}
        order = sorted(worth, key=lambda n: (-score[n], n))
        assert len(rung) == len(worth)
        assert [rung.rank(n) for n in order] == list(range(1, len(order) + 1))
        assert rung.rewards == sorted(worth.values())
        wanted = {n for n in range(12) if chance.random() < 0.5}
        for among in (0, len(order) // factor, len(order)):
            assert rung.waiting(wanted, among) == next((n for n in order[:among] if n in wanted), None)
        cutoff = rung.cutoff(factor)
        assert cutoff == (np.quantile(list(worth.values()), 1 - 1 / factor) if worth else None)


@settings(deadline=None)
@given(some.integers(0, 10**9))
def test_an_account_is_what_its_events_add_up_to(seed):
    chance, rungs = random.Random(seed), [10, 30]
    account, ends = Account(rungs, 90, FACTOR), [*rungs, 90]
    used, over, completed = {}, set(), False
    for _ in range(40):
        number = chance.randrange(10)
        if number in over:
            continue
        what = chance.random()
        if what < 0.1 and used:
            account.drop(number)
            over |= {number} if number in used else set()
            continue
        used[number] = step = used.get(number, 0) + EVERY
        if step == 90 or what < 0.2:
            account.end(number, step, completed=step == 90)
            over.add(number)
            completed = completed or step == 90
        else:
            account.note(number, step)
        paused = {n for n in used if n not in over and chance.random() < 0.5}
        under_way = [n for n in used if n not in over | paused]
        shares = [max(1, len(used) // FACTOR**k) for k in range(3)]
        granted = sum(s * (b - a) for s, (a, b) in zip(shares, pairwise([0, *ends]), strict=True))
        coming = sum(min(end for end in ends if end > used[n]) - used[n] for n in under_way)
        spent = sum(used.values()) + coming
        assert account.granted == granted
        assert account.has_left(paused) == ((not completed and not under_way) or spent < granted)


def trial(chance, number):
    """A trial's record and what it will report: a smooth curve, in one of six it dies."""
    rate = 10 ** chance.uniform(-4, -2)
    begin, end, pace = chance.uniform(5, 10), chance.uniform(1, 9), chance.uniform(0.3, 3)
    length = chance.randint(2, REPORTS - 1) if chance.random() < 1 / 6 else REPORTS
    for i in range(1, length + 1):
        value = begin + (end - begin) * (i / REPORTS) ** pace
        outcome = None if i < length else Outcome.COMPLETED if i == REPORTS else Outcome.DIVERGED
        yield number, {"lr": rate}, Report(EVERY * i, 0, 0.0, {"m": value}, 0.0, outcome)


def shown(pruner, chance, count):
    """Show a pruner whole curves of some trials, however they interleave; yields after each report."""
    curves, past = [list(trial(chance, number)) for number in range(count)], {}
    while left := [curve for curve in curves if curve]:
        number, params, report = chance.choice(left).pop(0)
        past.setdefault(number, []).append(report)
        pruner.judge(TrialRecord(number, params, {}, reports=list(past[number])), report)
        yield number, report


@settings(deadline=None, max_examples=25)
@given(some.integers(0, 10**9))
def test_all_brackets_rank_by_the_one_forecast(seed):
    chance = random.Random(seed)
    pruner = Hyperband(config(), min_steps=EVERY, second_chances=True)
    foreseen = 0
    for _, report in shown(pruner, chance, 20):
        if report.step not in (10, 30) and report.outcome is None:
            continue  # nothing new is known of ends
        for bracket in pruner.brackets:
            for rung in bracket.rungs.values():
                costs = pruner._forecast.ends(rung.worth)
                foreseen += bool(costs)
                costs = costs or {number: -reward for number, reward in rung.worth.items()}
                ranked = [costs[number] for number in sorted(rung.worth, key=rung.rank)]
                assert ranked == pytest.approx(sorted(ranked), rel=1e-9)
    assert foreseen


def test_a_newcomer_is_ranked_by_its_forecast_also_where_it_teaches_nothing_new():
    """Each is learnt from at once up to 150 times; after that most come between two fits."""
    chance, pruner = random.Random(3), Asha(config(), min_steps=EVERY, second_chances=True)
    for _ in shown(pruner, chance, 20):
        pass
    forecast, rung, quiet = pruner._forecast, pruner.rungs[EVERY], 0
    for number in range(20, 140):
        _, params, report = next(trial(chance, number))
        fits = forecast.fits
        pruner.judge(TrialRecord(number, params, {}, reports=[report]), report)
        quiet += forecast.fits == fits
        costs = forecast.ends(rung.worth)
        assert sorted(rung.worth, key=rung.rank) == sorted(costs, key=lambda n: (costs[n], n))
    assert quiet


@settings(deadline=None, max_examples=15)
@given(some.integers(0, 10**9))
def test_what_brackets_know_is_what_all_trials_have_shown(seed):
    alone = Forecast(config(), [10, 30])
    pruner = Hyperband(config(), min_steps=EVERY, second_chances=True)
    curves = {}
    for number, report in shown(pruner, random.Random(seed), 12):
        curves.setdefault(number, []).append(report)
    chance = random.Random(seed + 1)
    params = {number: known.params for number, known in pruner._forecast._known.items()}
    numbers = list(curves)
    while any(curves.values()):  # in another order
        number = chance.choice([n for n in numbers if curves[n]])
        alone.learn(TrialRecord(number, params[number], {}), curves[number].pop(0))
    assert pruner._forecast.ends(numbers) == pytest.approx(alone.ends(numbers), rel=1e-9)


def plainly(pruner, paused, fresh):
    """The number of the trial that goes on, from a look at each that is paused."""
    chosen = []
    for bracket in pruner.brackets if isinstance(pruner, Hyperband) else [pruner]:
        rungs, at = list(bracket.rungs.values()), {}
        for trial in paused:
            highest = next((rung for rung in rungs if trial.number in rung.worth), None)
            at.setdefault(highest, []).append(trial)
        best = {rung: min(at[rung], key=lambda t: rung.rank(t.number)) for rung in rungs if rung in at}
        spare = 1 if fresh else 2
        on = [
            trial
            for rung, trial in best.items()
            if rung.rank(trial.number) <= len(rung) // FACTOR
            and len(rung.gone) < len(rung) // FACTOR + math.isqrt(spare**2 * len(rung))
        ]
        if not on and best and not fresh and bracket._account.has_left({t.number for t in paused}):
            shares = {rung: rung.rank(trial.number) / len(rung) for rung, trial in best.items()}
            on = [best[min(shares, key=shares.get)]]
        chosen += on[:1]
    return max(chosen, key=lambda trial: trial.step).number if chosen else None


@settings(deadline=None, max_examples=20)
@given(some.integers(0, 10**9), some.sampled_from([Asha, Hyperband]))
def test_that_nobody_goes_on_is_said_without_looking_at_the_paused_and_is_the_same(seed, kind):
    chance, pruner = random.Random(seed), kind(config(), min_steps=EVERY, second_chances=True)
    brackets = pruner.brackets if kind is Hyperband else [pruner]
    curves = {number: list(trial(chance, number)) for number in range(30)}
    records, live, fresh = {}, [], sorted(curves, reverse=True)

    def looked_at(paused):
        for bracket in brackets:
            bracket.may_wake = lambda: True
        wake = pruner.choose(paused, True)
        for bracket in brackets:
            del bracket.may_wake
        return wake

    while live or fresh:
        while len(live) < 3 and fresh:
            paused = [records[n] for n in sorted(records) if records[n].outcome is Outcome.PAUSED]
            wake = pruner.choose(paused, True)
            assert wake == looked_at(paused)
            for fresh_too in (True, False):
                chosen = pruner.choose(paused, fresh_too)
                assert (chosen and chosen.number) == plainly(pruner, paused, fresh_too)
            if wake is not None:
                records[wake.number].outcome = Outcome.RUNNING
            live.append(wake.number if wake else fresh.pop())
        number, params, report = curves[at := chance.choice(live)].pop(0)
        before = records[at].reports if at in records else []
        records[at] = TrialRecord(number, params, {}, reports=[*before, report])
        verdict = pruner.judge(records[at], report)
        if report.outcome is not None or verdict.decision is not Decision.GO_ON:
            live.remove(at)
            records[at].outcome = report.outcome or Outcome.PAUSED
            if verdict.decision is Decision.STOP:
                records[at].outcome = Outcome.PRUNED


def test_one_bracket_alone_is_asha():
    """With the first rung at the end of the budget there is but one bracket."""
    said = []
    for kind in (Asha, Hyperband):
        pruner = kind(config(), min_steps=50, second_chances=True)
        ends = [len(pruner.brackets) == 1] if isinstance(pruner, Hyperband) else [True]
        for _ in shown(pruner, random.Random(5), 20):
            asked = [TrialRecord(n, {}, {}, Outcome.PAUSED) for n in range(20)]
            ends.append(pruner.choose(asked, True))
        said.append(ends)
    assert said[0] == said[1]


def test_configurations_are_points_about_their_mean():
    """Numbers by their logarithm where they span more than a decade; True is a label, and no number."""
    known = [
        {"lr": 1e-4, "depth": 1, "share": 1.0, "loss": "a", "norm": True},
        {"lr": 1e-2, "depth": 3, "share": 10.0, "loss": "b", "norm": False},
        {"depth": 2, "loss": "a", "norm": True},
    ]
    places = Places(known)
    deviation = math.sqrt(2 / 3)  # of 1, 2, 3
    assert places.of(known[0]) == pytest.approx([-SPREAD, -SPREAD / deviation, -SPREAD, 1, 0, 1, 0])
    assert places.of({"lr": 1e-3, "depth": 2, "share": 5.5, "loss": "b"}) == pytest.approx(
        [0, 0, 0, 0, 1, 0, 0]
    )
    assert places.of({"lr": -1.0, "depth": 4}) == pytest.approx([0, 2 * SPREAD / deviation, *[0] * 5])
    assert Places([{"depth": 2}]).of({"depth": 3}) == [SPREAD], "of one variance, or of none"


@settings(deadline=None)
@given(some.integers(0, 10**9), some.integers(3, 30), some.integers(0, 3))
def test_what_is_gained_is_of_the_likeliest_gaussian_process(seed, count, axes):
    """As by the definition: each covariance entry by entry, and its inverse."""
    chance = np.random.default_rng(seed)
    shapes, places = chance.normal(size=(count, 2)), chance.normal(size=(count, axes))
    gains = chance.normal(size=count) + shapes[:, 0] * chance.choice([0, 2])
    doubts = chance.choice([0, 0.3], size=count)
    model = Gains(shapes, places, gains, doubts)

    width = shapes.std(axis=0) + 1e-9
    flat, mean, deviation = (shapes - shapes.mean(axis=0)) / width, gains.mean(), gains.std() + 1e-9

    def covariance(kernel, shape, place, other, there):
        near = math.exp(-0.5 * sum((place - there) ** 2))
        alike = near * math.exp(-0.5 * sum((shape - other) ** 2))
        return kernel.place * near + kernel.alike * alike + kernel.linear * (shape @ other)

    def all_of(kernel, these, where):
        known = list(zip(flat, places, strict=True))
        asked = zip(these, where, strict=True)
        return np.array([[covariance(kernel, *one, *other) for other in known] for one in asked])

    told = []
    for kernel in KERNELS:
        own = all_of(kernel, flat, places) + np.diag(kernel.noise + doubts / deviation**2)
        scaled = (gains - mean) / deviation
        variance = (scaled @ np.linalg.inv(own) @ scaled + 2) / (count + 2)
        likely = kernel.prior - np.linalg.slogdet(own)[1] / 2 - (count + 2) / 2 * math.log(variance)
        told.append((likely, variance, own, scaled))
    order = np.argsort([each[0] for each in told])
    if told[order[-1]][0] - told[order[-2]][0] < 1e-6:
        return  # either will do
    kernel, (_, variance, own, scaled) = KERNELS[order[-1]], told[order[-1]]
    assert model.kernel is kernel
    new, where = chance.normal(size=(4, 2)), chance.normal(size=(4, axes))
    cross = all_of(kernel, (new - shapes.mean(axis=0)) / width, where)
    middle, spread = model.of(new, where)
    assert middle == pytest.approx(cross @ np.linalg.inv(own) @ scaled * deviation + mean, abs=1e-7)
    here = (new - shapes.mean(axis=0)) / width
    prior = kernel.place + kernel.alike + kernel.linear * np.square(here).sum(axis=1)
    left = np.maximum(prior - np.einsum("ij,jk,ik->i", cross, np.linalg.inv(own), cross), 0)
    assert spread == pytest.approx((left + kernel.noise) * variance * deviation**2, rel=1e-5)
