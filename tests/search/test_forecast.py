"""Where trials will end: curves with a known law."""

import math
import random
import time
from dataclasses import replace

import pytest

from gansearch.search import forecast as module
from gansearch.search.forecast import ALWAYS, Forecast, Prediction
from gansearch.search.halving import Asha
from gansearch.search.pruners import Decision
from gansearch.study.config import TrialConfig
from gansearch.study.evaluation import Budget, Objective
from gansearch.study.records import Outcome, Report, TrialRecord

METRIC, EVERY, REPORTS = "fd_classifier", 10, 16
RUNGS = (20, 60)


def config(goal="min"):
    budget = Budget(steps=EVERY * REPORTS, report_every=EVERY)
    return TrialConfig(budget=budget, objective=Objective(metric=METRIC, goal=goal))


def trial(number, rng, goal="min"):
    """A small rate begins slowly and ends well, a large one the other way round: ranks turn."""
    rate = 10 ** rng.uniform(-4, -2)
    position = math.log10(rate) + 4  # 0 to 2
    end, pace = 2 + 3 * position, 0.15 + 0.4 * position
    sign = 1 if goal == "min" else -1
    values = [
        sign * (end + 30 * math.exp(-pace * i) + 0.05 * rng.random()) for i in range(1, REPORTS + 1)
    ]
    outcomes = [None] * (REPORTS - 1) + [Outcome.COMPLETED]
    reports = [
        Report(EVERY * i, 0, 0.0, {METRIC: value}, 0.0, outcome)
        for i, (value, outcome) in enumerate(zip(values, outcomes, strict=True), start=1)
    ]
    return TrialRecord(number, {"lr": rate}, {}, reports=reports)


def told(forecast, record, reports):
    for report in record.reports[:reports]:
        forecast.learn(replace(record, reports=[]), report)


@pytest.mark.parametrize("goal", ["min", "max"])
def test_late_bloomers_are_seen_where_ranks_are_wrong(goal):
    rng, forecast = random.Random(0), Forecast(config(goal), RUNGS)
    trials = [trial(number, rng, goal) for number in range(40)]
    for record in trials[:12]:
        told(forecast, record, REPORTS)
    for record in trials[12:]:
        told(forecast, record, 2)
    early, late = sorted(trials[12:], key=lambda t: t.params["lr"])[-1], None
    late = min(trials[12:], key=lambda t: t.params["lr"])
    now = [t.reports[1].metrics[METRIC] for t in (early, late)]
    assert (now[0] < now[1]) == (goal == "min"), "by rank the early one is better"
    ends = forecast.ends([t.number for t in trials[12:]])
    assert ends[late.number] < ends[early.number], "at the end it is the other way round"
    held = 0
    for record in trials[12:]:
        predicted = forecast.of(record.number)
        low, high = sorted((predicted.low, predicted.high))
        best = record.best(METRIC, goal).value
        held += low <= best <= high
        assert predicted.whole
        assert predicted.step == EVERY * REPORTS
    assert held >= 20, "of 28, an interval of four fifths"


def shows(forecast, number, values, outcome=None):
    """Reports of a trial; returns whether each told something new of ends."""
    outcomes = [None] * (len(values) - 1) + [outcome]
    return [
        forecast.learn(
            TrialRecord(number, {}, {}), Report(EVERY * i, 0, 0.0, {METRIC: value}, 0.0, end)
        )
        for i, (value, end) in enumerate(zip(values, outcomes, strict=True), start=1)
    ]


def test_those_that_wait_teach_by_what_they_are_expected_to_gain():
    """From the second report to the sixth few gained 1 and many 2, and after that all gain 3."""
    rng, forecast = random.Random(0), Forecast(config("max"), RUNGS)
    for number in range(23):
        level, gain = rng.uniform(-1, 1), 1 if number < 3 else 2
        values = [level] * 2 + [level + gain] * 4
        if number < 3:
            values += [level + gain + 3] * 10
        shows(forecast, number, values, Outcome.COMPLETED if number < 3 else None)
    shows(forecast, 23, [0.0, 0.0])
    assert forecast.of(23).value == pytest.approx((3 * 4 + 20 * 5) / 23, abs=0.1)


def test_one_that_has_ended_ends_at_what_it_has():
    forecast = Forecast(config("max"), RUNGS)
    for number in range(4):
        shows(forecast, number, [1.0 + number] * REPORTS, Outcome.COMPLETED)
    shows(forecast, 4, [1.0, 2.0, 7.0], Outcome.DIVERGED)
    assert forecast.ends([4, 3]) == {4: -7.0, 3: -4.0}


def test_it_learns_at_once_of_beginnings_rungs_and_ends_and_of_many_when_a_twentieth_is_new():
    forecast = Forecast(config(), RUNGS)
    assert shows(forecast, 0, [math.nan, math.nan, 5.0, 4.0, 3.0, 3.0, 2.0], Outcome.DIVERGED) == [
        False,
        True,
        True,
        False,
        False,
        True,
        True,
    ]  # the second report is at a rung, the third is the first of a value
    learnt = [shows(forecast, number, [1.0])[0] for number in range(1, 500)]
    news, fitted, expected = 4, 4, []
    for _ in learnt:
        news += 1
        expected.append(news - fitted >= max(1, 0.05 * (fitted - 150)))
        fitted = news if expected[-1] else fitted
    assert learnt == expected
    assert sum(learnt[: ALWAYS - 4]) == ALWAYS - 4
    assert forecast.fits == 4 + sum(learnt) < 300


def test_words():
    rng, forecast = random.Random(1), Forecast(config(), RUNGS)
    trials = [trial(number, rng) for number in range(12)]
    for record in trials[:9]:
        told(forecast, record, REPORTS)
    told(forecast, trials[9], 2)
    predicted = forecast.of(9)
    words = predicted.words()
    assert words.startswith(f"predicted {predicted.value:.3g} [{predicted.low:.3g}, ")
    best = min(record.best(METRIC, "min").value for record in trials[:9])
    assert words.endswith(f" at the end, the best has {best:.3g}")
    assert predicted.low <= predicted.value <= predicted.high <= trials[9].reports[1].metrics[METRIC]


def test_words_begin_with_the_smaller_bound_whichever_is_better():
    words = "predicted 0.4 [0.3, 0.5] at step 60, the best has 0.6"
    for low, high in ((0.3, 0.5), (0.5, 0.3)):
        assert Prediction(0.4, low, high, 60, False, 0.6).words() == words


def test_of_many_trials_the_best_and_the_newest_others_are_remembered(monkeypatch):
    monkeypatch.setattr(module, "REMEMBERED", 6)
    known = [module._Known({}, [cost]) for cost in (1.0, 9.0, 2.0, 8.0, 7.0, 3.0, 6.0, 5.0, 4.0)]
    assert module._remembered(known[:6]) == known[:6]
    costs = [each.costs[0] for each in module._remembered(known)]
    assert costs == [1.0, 2.0, 3.0, 6.0, 5.0, 4.0], "the three best, and the three newest besides"


def test_with_too_little_nothing_is_said():
    rng, forecast = random.Random(2), Forecast(config(), RUNGS)
    trials = [trial(number, rng) for number in range(5)]
    assert forecast.ends([0]) == {}
    for record in trials[:2]:
        told(forecast, record, REPORTS)
    told(forecast, trials[2], 2)
    assert forecast.of(2) is None
    assert forecast.ends([0, 1, 2]) == {}
    assert forecast.of(77) is None


def test_before_the_end_is_known_the_next_rung_is_forecast():
    rng, forecast = random.Random(3), Forecast(config(), RUNGS)
    for number in range(8):
        told(forecast, trial(number, rng), 6 if number < 4 else 2)
    predicted = forecast.of(6)
    assert not predicted.whole
    assert predicted.step == 60
    assert "at step 60" in predicted.words()


def test_a_collapse_takes_nothing_from_what_was_reached():
    rng, forecast = random.Random(4), Forecast(config(), RUNGS)
    for number in range(9):
        told(forecast, trial(number, rng), REPORTS)
    record = trial(9, rng)
    bad = [replace(r, metrics={METRIC: 500.0 if r.step > 20 else 3.0}) for r in record.reports]
    told(forecast, replace(record, reports=bad), 6)
    assert forecast.ends([9])[9] <= 3.0 + 1e-9
    assert forecast.of(9).value <= 3.0 + 1e-9


def test_no_value_is_no_forecast():
    rng, forecast = random.Random(5), Forecast(config(), RUNGS)
    for number in range(6):
        told(forecast, trial(number, rng), REPORTS)
    record = trial(6, rng)
    nothing = [replace(report, metrics={METRIC: math.nan}) for report in record.reports]
    told(forecast, replace(record, reports=nothing), 4)
    assert forecast.of(6) is None
    assert forecast.ends([6]) == {}


def test_parameters_of_every_kind():
    rng, forecast = random.Random(6), Forecast(config(), RUNGS)
    for number in range(12):
        record = trial(number, rng)
        record.params.update(
            {"loss": ["hinge", None][number % 2], "depth": number % 3, "on": number < 6}
        )
        if number % 2:
            record.params["loss.hinge.weight"] = 0.0
        told(forecast, record, REPORTS if number < 9 else 2)
    stranger = trial(12, rng)
    stranger.params.update({"loss": "new", "more": 3.0})
    told(forecast, stranger, 2)
    assert math.isfinite(forecast.ends([12])[12])


def test_the_pruner_says_why_and_wakes_a_late_bloomer():
    """Slow trials come first and are paused; the fast ones' ends show that the slow ones end better."""
    rng = random.Random(7)
    pruner = Asha(config(), min_steps=20, second_chances=True)
    drawn = [trial(number, rng) for number in range(60)]
    slow = sorted(drawn, key=lambda t: t.params["lr"])[:6]
    paused, completed, reasons = {}, [], []
    for record in drawn:
        _train(pruner, record, 0, paused, completed, reasons)
        while paused:
            wake = pruner.choose([paused[number] for number in sorted(paused)], True)
            if wake is None:
                break
            reasons.append(wake.reason)
            begun = len(paused.pop(wake.number).reports)
            _train(pruner, drawn[wake.number], begun, paused, completed, reasons)
    assert any("predicted" in reason and "the best has" in reason for reason in reasons)
    best = {t.number for t in slow}
    assert best & set(completed), "one of the tenth that end best was let come to its end"


def _train(pruner, record, begun, paused, completed, reasons):
    for i in range(begun, REPORTS):
        seen = replace(record, reports=record.reports[: i + 1])
        verdict = pruner.judge(seen, record.reports[i])
        if record.reports[i].outcome:
            completed.append(record.number)
        elif verdict.decision is Decision.PAUSE:
            paused[record.number] = replace(seen, outcome=Outcome.PAUSED)
            reasons.append(verdict.reason)
            return


def test_many_trials_cost_no_more():
    rng, forecast = random.Random(8), Forecast(config(), RUNGS)
    for number in range(3 * ALWAYS):
        told(forecast, trial(number, rng), REPORTS if number % 9 == 0 else 2)
    begun = time.process_time()
    for number in range(3 * ALWAYS, 3 * ALWAYS + 50):
        told(forecast, trial(number, rng), 2)
        forecast.ends([number])
    assert (time.process_time() - begun) / 50 < 0.05, "five milliseconds on a quiet machine"


def falls(number, rate, level, ratio):
    """Stays at its level up to the first rung, and falls to a share of it at the end."""
    values = [level, level] + [level * (1 + (ratio - 1) * i / 14) for i in range(1, REPORTS - 1)]
    outcomes = [None] * (REPORTS - 1) + [Outcome.COMPLETED]
    reports = [
        Report(EVERY * i, 0, 0.0, {METRIC: value}, 0.0, outcome)
        for i, (value, outcome) in enumerate(zip(values, outcomes, strict=True), start=1)
    ]
    return TrialRecord(number, {"lr": rate}, {}, reports=reports)


@pytest.mark.parametrize("law", ["the configuration alone", "levels that mean another thing elsewhere"])
def test_alike_configurations_and_alike_curves_end_alike(law):
    """Beginnings tell nothing by themselves, nor does what is linear in them."""
    rng, forecast = random.Random(9), Forecast(config(), RUNGS)
    trials = []
    for number in range(44):
        small, low = number % 2 == 0, number // 2 % 2 == 0
        falls_far = small if law == "the configuration alone" else small == low
        rate = (1e-4 if small else 1e-2) * math.exp(rng.gauss(0, 0.2))
        level = (10 if low else 20) * math.exp(rng.gauss(0, 0.03))
        trials.append(falls(number, rate, level, 0.2 if falls_far else 0.8))
    for record in trials:
        told(forecast, record, REPORTS if record.number < 32 else 2)
    for record in trials[32:]:
        end = record.reports[-1].metrics[METRIC]
        assert forecast.of(record.number).value == pytest.approx(end, rel=0.2)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("values", [[5.0, -1.0, -2.0], [5.0, 0.5, 0.0], [-1.0], [5.0, 4.0, 3.0, -1.0]])
def test_the_first_cost_that_has_no_logarithm_is_forecast_at_once(values):
    """Of many trials it is not learnt from each report, and all costs were positive so far."""
    config = TrialConfig(
        budget=Budget(steps=90, report_every=10), objective=Objective(metric="m", goal="min")
    )
    forecast, chance = Forecast(config, [10, 30]), random.Random(0)

    def show(number, curve):
        params = {"lr": 10 ** chance.uniform(-4, -2)}
        for i, value in enumerate(curve, 1):
            outcome = Outcome.COMPLETED if i == 9 else None
            report = Report(10 * i, 0, 0.0, {"m": value}, 0.0, outcome)
            forecast.learn(TrialRecord(number, params, {}), report)

    for number in range(3 * ALWAYS):
        show(number, [chance.uniform(1, 9) * 0.9**i for i in range(9)])
    show(5000, values)
    show(5001, [5.0])
    ends = forecast.ends([0, 5000, 5001])
    assert all(map(math.isfinite, ends.values())), "NaN has no rank"
    assert ends[5000] <= values[2 if len(values) > 2 else 0], "its best so far, at the last rung"
    for number in (5000, 5001):
        told = forecast.of(number)
        assert math.isfinite(told.value)
