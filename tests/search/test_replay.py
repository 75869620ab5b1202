"""Policies played on a simulated clock: made-up curves, real proposers, samplers and pruners."""

import io
import math
import random
from dataclasses import replace

import numpy as np
import pytest
import scipy.stats
from rich.console import Console

from gansearch import api
from gansearch.analysis.wording import DASH
from gansearch.errors import InvalidInput, StudyError, UserError
from gansearch.journal.directory import StudyDirectory
from gansearch.journal.stored import StoredStudy
from gansearch.options import part_options
from gansearch.reporting.regret import regret_curves
from gansearch.reporting.style import styled
from gansearch.search.pruners import Decision, Verdict, Wake
from gansearch.search.recording import Curve, Recording, recording_of
from gansearch.search.replay import (
    Policy,
    Rank,
    Replay,
    Result,
    _advice,
    judged,
    play,
    policies_of,
    quartiles,
    ranks_of,
    regret,
    replay,
    spearman,
    stored_spec,
)
from gansearch.search.simulation import Played, Recorded, Simulation, StandIns, within
from gansearch.search.view import distribution, tried
from gansearch.search.worker import Lanes
from gansearch.study.learnt import Learnt, Lesson
from gansearch.study.plan import Pruner, Sampler, SearchBudget
from gansearch.study.records import Outcome, Report, TrialRecord
from gansearch.study.space import at_random
from gansearch.terminal import show_replay
from gansearch.tuning.creation import create

METRIC = "fd_classifier"
NONE, ASHA = Pruner(name="none"), Pruner(name="asha")
SECOND_CHANCES = Pruner.model_validate({"name": "asha", "second_chances": True})


def curve_of(number, point, values, *, seconds=1.0, outcome=Outcome.COMPLETED):
    reports = [
        Report(10 * i, 160 * i, float(seconds * i), {METRIC: value}, 0.0)
        for i, value in enumerate(values, start=1)
    ]
    return Curve(number, point, (*reports[:-1], replace(reports[-1], outcome=outcome)))


def values_at(point):
    """What a configuration would come to: best at learning rates of 1e-3, slow ones begin late."""
    x, y = (math.log10(point[f"optimizer.{side}.lr"]) for side in ("generator", "discriminator"))
    end, pace = 1 + (x + 3) ** 2 + (y + 3) ** 2, 10 ** ((x + 5) / 4)
    return [end + 20 * math.exp(-pace * i) for i in range(1, 10)]


@pytest.fixture(scope="module")
def study(spec):
    return spec("pruner: none\nsearch: {sampler: random, trials: 40}\n")


@pytest.fixture(scope="module")
def recording(study):
    """Forty configurations at random; every eighth diverges on its way."""
    chance, axes, curves = random.Random(0), study.space.axes(), []
    for number in range(40):
        point = study.space.point(at_random(chance))
        values, outcome = values_at(point), Outcome.COMPLETED
        if number % 8 == 7:
            values, outcome = [*values[:3], math.nan], Outcome.DIVERGED
        curves.append(curve_of(number, point, values, seconds=1 + number % 3, outcome=outcome))
    return Recording(axes, METRIC, "min", curves)


def test_without_a_pruner_every_trial_is_trained_to_its_end(study, recording):
    played = play(study, recording, Policy(None, NONE), 1, 0)
    ends = [curve.reports[-1].outcome for curve in recording.curves]
    assert [trial.outcome for trial in played.trials] == ends
    assert played.seconds == pytest.approx(sum(c.reports[-1].seconds for c in recording.curves))
    assert played.best[-1][1] == recording.best
    assert [value for _, value in played.best] == sorted((v for _, v in played.best), reverse=True)


@pytest.mark.parametrize("workers", [1, 2, 8])
@pytest.mark.parametrize("pruner", [NONE, ASHA, SECOND_CHANCES, Pruner(name="hyperband")])
def test_workers_share_the_trials_and_lose_none(study, recording, workers, pruner):
    played = play(study, recording, Policy(None, pruner), workers, 0)
    assert [trial.number for trial in played.trials] == list(range(40))
    assert all(trial.outcome.ended for trial in played.trials)
    assert played.busy <= played.seconds * workers
    for trial, curve in zip(played.trials, recording.curves, strict=True):
        told = [replace(report, time=0.0) for report in trial.reports]
        assert repr(told) == repr(list(curve.reports[: len(told)])), "reports are those recorded"
    if workers == 1:
        assert played.busy == pytest.approx(played.seconds), "one worker is never idle"


@pytest.mark.parametrize("pruner", [NONE, SECOND_CHANCES])
def test_workers_of_several_lanes_lose_none_either(study, recording, pruner):
    spec = replace(study, plan=study.plan.model_copy(update={"pruner": pruner}))
    lanes = Lanes(4, lambda trial: str(trial.number % 2), lambda lanes: lanes**0.5)
    source = Recorded(spec, recording)
    played = Simulation(spec, source, recording, workers=3, lanes=lanes).run()
    assert [trial.number for trial in played.trials] == list(range(40))
    assert all(trial.outcome.ended for trial in played.trials)
    assert played.busy <= played.seconds * 3 + 1e-9, "each has its share of the time"
    alone = play(study, recording, Policy(None, pruner), 3, 0)
    if pruner is NONE:
        assert played.seconds < alone.seconds
        assert [len(t.reports) for t in played.trials] == [len(t.reports) for t in alone.trials]


@pytest.mark.parametrize(("trials", "seconds"), [(8, 18.0), (6, 18.0), (4, 9.0)])
def test_few_trials_are_spread_over_all_workers(study, recording, trials, seconds):
    """However many a worker could carry, here eight: nothing is won by it, and 9 s are one alone."""
    points = [curve.point for curve in recording.curves]
    alike = [curve_of(number, points[number], [1.0] * 9) for number in range(trials)]
    found, lanes = Recording(recording.axes, METRIC, "min", alike), Lanes(8, lambda _: "one", float)
    played = Simulation(study, Recorded(study, found), found, workers=4, lanes=lanes).run()
    assert played.seconds == pytest.approx(seconds)


class Watched(StandIns):
    """Compares what a sampler is shown with the journal's trials, read anew, at each proposal."""

    looks = shown_running = 0

    def choose_point(self, number, sampler):
        shown = self._view.trials[:number]
        expected = [tried(trial, True, 0, self.journal.frozen(trial.number)) for trial in shown]
        assert self._view.past(number).trials == expected
        self.looks += 1
        self.shown_running += sum(one.running and len(one.curve) > 1 for one in expected)
        return super().choose_point(number, sampler)


def test_what_a_sampler_is_shown_is_up_to_date_at_each_proposal(study, recording):
    plan = study.plan.model_copy(update={"pruner": SECOND_CHANCES})
    spec = replace(study, plan=plan)
    source = Watched(spec, recording)
    played = Simulation(spec, source, recording, workers=5).run()
    assert source.looks == 40
    assert source.shown_running, "some run on after a first report"
    assert any(len(trial.chances) > 1 for trial in played.trials), "and some were woken"


def test_a_pruner_says_in_a_replay_what_it_would_have_said(study, recording):
    """Shown the reports in the order of the simulated clock, a fresh pruner gives the same verdicts."""
    from gansearch.search.halving import Asha

    played = play(study, recording, Policy(None, ASHA), 4, 0)
    pruner, stopped = Asha(study.example()), set()
    told = [(trial, i) for trial in played.trials for i in range(len(trial.reports))]
    assert max(trial.reports[i].time for trial, i in told) == played.seconds
    for trial, i in sorted(told, key=lambda each: each[0].reports[each[1]].time):
        report = trial.reports[i]
        shown = replace(trial, reports=trial.reports[: i + 1], outcome=Outcome.RUNNING)
        if pruner.judge(shown, report).decision is Decision.STOP and report.outcome is None:
            stopped.add(trial.number)
    assert stopped == {t.number for t in played.trials if t.outcome is Outcome.PRUNED} != set()


def test_a_search_that_was_recorded_whole_is_repeated_exactly(study, make_ledger):
    """Each of TPE's proposals was recorded: the stand-ins are the proposals themselves."""
    tpe = replace(study, plan=study.plan.model_copy(update={"search": _search(study, "tpe", 3)}))
    ledger, curves = make_ledger(tpe), []
    for number in range(25):
        record = ledger.next()
        curve = curve_of(number, record.params, values_at(record.params))
        for report in curve.reports:
            ledger.report(number, report)
        ledger.end(number)
        curves.append(curve)
    shuffled = random.Random(1).sample(curves, len(curves))
    recorded = Recording(tpe.space.axes(), METRIC, "min", shuffled)
    played = play(study, recorded, Policy(Sampler(name="tpe"), NONE), 1, 3)
    assert [trial.params for trial in played.trials] == [curve.point for curve in curves]


def _search(study, sampler, seed):
    return study.plan.search.model_copy(update={"sampler": Sampler(name=sampler), "seed": seed})


def _anything(study):
    return curve_of(0, study.space.point(lambda _, axis: axis.ends()[0]), [1.0] * 9)


@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_no_configuration_is_tried_twice(study, recording, sampler):
    played = play(study, recording, Policy(Sampler(name=sampler), ASHA), 3, 5)
    points = [str(trial.params) for trial in played.trials]
    assert len(set(points)) == 40
    again = play(study, recording, Policy(Sampler(name=sampler), ASHA), 3, 5)
    assert repr(again) == repr(played), "the same seed plays the same"


def test_nearest_is_by_the_axes_own_scale(study):
    axes = study.space.axes()
    first = dict(_anything(study).point)
    points = [first | {"optimizer.generator.lr": lr} for lr in (1e-4, 4e-3, 1e-2)]
    recording = Recording(axes, METRIC, "min", [curve_of(i, p, [1.0]) for i, p in enumerate(points)])
    asked = points[0] | {"optimizer.generator.lr": 1e-3}
    assert recording.nearest(asked, []) == 1, "by the logarithm"
    assert recording.nearest(asked, [1]) == 0 or recording.nearest(asked, [1]) == 2
    other = points[0] | {"loss": "wasserstein", "loss.wasserstein.penalty.weight": 1.0}
    assert recording.nearest(other, []) == 0
    with pytest.raises(LookupError):
        recording.nearest(asked, [0, 1, 2])


def test_a_trial_cannot_be_trained_further_than_it_was_recorded(study, recording):
    stopped = [replace(c, reports=c.reports[:2]) if c.number < 10 else c for c in recording.curves]
    cut = Recording(recording.axes, METRIC, "min", stopped)
    assert recording.whole
    assert not cut.whole
    played = play(study, cut, Policy(None, NONE), 2, 0)
    assert played.cut == 10
    assert all(played.trials[n].reason == "recorded to step 20 only" for n in range(10))


def test_a_search_ends_when_it_has_come_near_enough(study, recording):
    near = within(recording, 0.05)
    assert near(recording.best * 1.04)
    assert not near(recording.best * 1.06)
    whole = play(study, recording, Policy(None, NONE), 2, 0)
    short = play(study, recording, Policy(None, NONE), 2, 0, near)
    assert short.best == whole.best[: len(short.best)]
    assert near(short.best[-1][1])
    assert not any(near(value) for _, value in short.best[:-1])
    assert short.reached(near) == whole.reached(near) == short.seconds * 2
    source, lanes = Recorded(study, recording), Lanes(4, lambda _: "one", float)
    together = Simulation(study, source, recording, workers=2, lanes=lanes).run(near)
    (at, value) = together.best[-1]
    assert near(value)
    assert at == together.seconds, "though others reported with it that were no better"


def _times(factor, curve):
    told = [{name: factor * v for name, v in report.metrics.items()} for report in curve.reports]
    reports = [replace(r, metrics=m) for r, m in zip(curve.reports, told, strict=True)]
    return replace(curve, reports=tuple(reports))


def test_what_is_to_be_maximised_is_searched_as_its_opposite_is_to_be_minimised(study, recording):
    upwards = Recording(recording.axes, METRIC, "max", [_times(-1.0, c) for c in recording.curves])
    tpe = Policy(Sampler(name="tpe"), NONE)
    down, up = (play(study, found, tpe, 1, 0) for found in (recording, upwards))
    assert [trial.params for trial in up.trials] == [trial.params for trial in down.trials]
    assert up.best == [(at, -value) for at, value in down.best]


def test_a_report_that_is_not_finite_is_no_best(study, recording):
    point = recording.curves[0].point
    found = Recording(
        recording.axes, METRIC, "min", [curve_of(0, point, [math.nan, 2.0, math.inf, 3.0])]
    )
    asked = []
    played = play(study, found, Policy(None, NONE), 1, 0, asked.append)
    assert played.best == [(2.0, 2.0)]
    assert asked == [2.0], "only what is better may be good enough"


def test_to_be_maximised():
    ends = [[1.0, 2.0], [1.5, math.nan], [0.0, 0.5]]
    curves = [curve_of(number, {}, values) for number, values in enumerate(ends)]
    recording = Recording({}, METRIC, "max", curves)
    assert recording.best == 2.0
    near = within(recording, 0.05)
    assert near(1.95)
    assert not near(1.85)
    below_zero = within(Recording({}, METRIC, "min", [curve_of(0, {}, [-2.0])]), 0.05)
    assert below_zero(-1.95)
    assert not below_zero(-1.85)
    assert math.isnan(Recording({}, METRIC, "min", [curve_of(0, {}, [math.nan])]).best)


def test_regret_is_what_is_missing_to_the_best(study, recording):
    plays = [play(study, recording, Policy(Sampler(name="random"), NONE), 2, seed) for seed in range(5)]
    curve = regret(judged(Policy(Sampler(name="random"), NONE), plays, recording), recording)
    assert curve.middle[-1] == curve.high[-1] == 0
    assert np.isinf(curve.middle[0]), "before the first report nothing is known"
    assert (curve.low <= curve.middle).all()
    assert (curve.middle <= curve.high).all()
    assert (np.diff(curve.middle[np.isfinite(curve.middle)]) <= 0).all()


@pytest.mark.parametrize(("goal", "sign"), [("min", 1), ("max", -1)])
def test_regret_is_told_at_each_device_second(goal, sign):
    """Two workers to the seconds 5 and 10: known from the second at which it was reported."""
    recording = Recording({}, METRIC, goal, [curve_of(0, {}, [sign * 1.0])])
    plays = [
        Played(best=[(1.0, sign * 9.0), (3.0, sign * 1.0)], seconds=5.0, workers=2),
        Played(best=[(2.0, sign * 4.0)], seconds=10.0, workers=2),
    ]
    found = regret(judged(Policy(None, NONE), plays, recording), recording, points=11)
    assert found.seconds.tolist() == [2.0 * i for i in range(11)]
    inf = math.inf
    assert found.low.tolist() == [inf, 8.0, 3.0, *[0.0] * 8]
    assert found.middle.tolist() == found.high.tolist() == [inf, inf, 8.0, *[3.0] * 8]


def test_what_whole_searches_found_and_spent_is_told_beside_when_they_came_near(recording):
    plays = [
        Played(best=[(1.0, 9.0), (3.0, 2.5)], seconds=5.0, workers=2),
        Played(best=[(2.0, 4.0)], seconds=11.0, workers=2),
        Played(best=[], seconds=40.0, workers=2),  # nothing finite: it counts in what was spent alone
    ]
    result = judged(Policy(None, NONE), plays, recording)
    assert (result.spent, result.found) == (22.0, 3.25)
    assert math.isnan(judged(Policy(None, NONE), plays[2:], recording).found)
    out = Console(file=io.StringIO(), width=160)
    show_replay(out, Replay("fid", recording, 2, (result,), ()))
    assert "recorded + none never never to never 22 3.25 3" in " ".join(out.file.getvalue().split())


def test_quartiles_of_times_that_may_be_infinite():
    assert quartiles([3.0]) == (3.0, 3.0, 3.0)
    assert quartiles([4.0, 1.0, math.inf, 2.0, 3.0]) == (2.0, 3.0, 4.0)
    assert quartiles([1.0, math.inf, math.inf]) == (1.0, math.inf, math.inf)


def test_spearman_is_scipys():
    draws = np.random.default_rng(0)
    one = draws.integers(0, 8, 40).astype(float)
    other = one + draws.normal(0, 4, 40)
    assert spearman(one, other) == pytest.approx(scipy.stats.spearmanr(one, other).statistic)
    one[3] = math.inf
    assert spearman(one, other) == pytest.approx(scipy.stats.spearmanr(one, other).statistic)
    assert math.isnan(spearman(one, np.zeros(40)))


def test_a_correlation_that_cannot_be_said_is_a_dash(recording):
    """Where all trials are alike at a report there is none."""
    out = Console(file=io.StringIO(), width=160)
    show_replay(out, Replay("fid", recording, 1, (), (Rank(10, 0.5, math.nan, 1.0),)))
    assert f"50 % {DASH} 100 %" in " ".join(out.file.getvalue().split())


def test_ranks_of_reports(recording):
    ranks = list(ranks_of(recording))
    assert [rank.step for rank in ranks] == list(range(10, 100, 10))
    assert ranks[-1].correlation == pytest.approx(1.0)
    assert ranks[-1].kept == 1.0
    assert ranks[0].correlation < ranks[4].correlation
    assert [rank.share for rank in ranks] == pytest.approx([i / 9 for i in range(1, 10)])
    for goal, sign in (("min", 1.0), ("max", -1.0)):
        first, late = list(range(8)), {7: (-1, 20), 6: (20, -2)}  # 7 and 6 overtake all others at last
        values = [(i, math.nan, *late.get(i, (20, 20))) for i in first]
        curves = [curve_of(i, {}, [sign * value for value in four]) for i, four in enumerate(values)]
        told = list(ranks_of(Recording({}, METRIC, goal, curves)))
        assert [rank.kept for rank in told] == pytest.approx([1 / 3, 1 / 3, 2 / 3, 1])
        least = [first, first, [*first[:7], -1], [*first[:6], -2, -1]]
        expected = [scipy.stats.spearmanr(here, least[-1]).statistic for here in least]
        assert [rank.correlation for rank in told] == pytest.approx(expected)
    few = Recording(recording.axes, METRIC, "min", recording.curves[:5])
    assert all(math.isnan(rank.correlation) and math.isnan(rank.kept) for rank in ranks_of(few))


@pytest.mark.parametrize(
    ("kept", "said"),
    [
        ((0.5, 1.0, 0.9, 1.0), "A first rung at step 20 (50 % of the budget) keeps the best trials."),
        ((1.0, 0.8, 0.9, 1.0), "A first rung at step 30 (75 % of the budget) keeps the best trials."),
        ((1.0, 1.0, 0.8, 1.0), "No report before the end has the best trials in its best third: "),
        ((1.0, 1.0, None, 1.0), "No report before the end has the best trials in its best third: "),
    ],
)
def test_a_first_rung_is_where_all_later_reports_keep_the_best_trials(study, recording, kept, said):
    alike = [math.nan if share is None else 0.5 for share in kept]  # all trials, at such a report
    ranks = tuple(Rank(10 * i, i / 4, alike[i - 1], kept[i - 1] or 1.0) for i in range(1, 5))
    result = judged(Policy(None, NONE), [play(study, recording, Policy(None, NONE), 2, 0)], recording)
    assert said in _advice(Replay(METRIC, recording, 2, (result,), ranks))


def test_of_trials_that_none_let_end_nothing_is_said_of_rungs(study, recording):
    curves = [replace(curve, reports=curve.reports[:-1]) for curve in recording.curves]
    cut = Recording(recording.axes, METRIC, "min", curves)
    assert list(ranks_of(cut)) == []
    result = judged(Policy(None, NONE), [play(study, cut, Policy(None, NONE), 2, 0)], cut)
    for found in (cut, Recording(recording.axes, METRIC, "min", recording.curves[:7])):
        told = Replay(METRIC, found, 2, (result,), tuple(ranks_of(found)))
        assert _advice(told).endswith(
            "Fewer than 8 trials ended by themselves, so nothing is said of rungs."
        )
        assert told.trusted is None


def test_a_policy_is_called_by_what_was_said_of_it():
    said = {"name": "tpe", "belief": "strong", "startup_trials": 3}
    assert Policy(Sampler.model_validate(said), ASHA).label == (
        "tpe (belief: strong, startup_trials: 3) + asha"
    )
    assert Policy(None, SECOND_CHANCES).label == "recorded + asha (second_chances: true)"
    own = {"name": "own.Sampler", "within": {"lr": [1e-4, None]}, "belief": "none"}
    told = 'own.Sampler (belief: none, within: {"lr": [0.0001, null]}) + none'
    assert Policy(Sampler.model_validate(own), NONE).label == told


# A stored study


@pytest.fixture
def stored(study, spec, recording, tmp_path):
    """The recording as a study of its own, with a journal."""

    def make(pruned=0, budget="", learnt=(), ends=()):
        directory = StudyDirectory(tmp_path / "runs" / "study")
        asked = replace(spec(budget) if budget else study, learnt=learnt)
        create(asked, StoredStudy(directory), None)
        found = StoredStudy(directory)
        journal = found.journal(writer=True)
        axes = study.space.axes()
        for curve in recording.curves:
            number, point = curve.number, curve.point
            config = study.trial(number, lambda name, _, point=point: point[name]).plain()
            kinds = {name: distribution(axes[name]) for name in point}
            journal.begin(number, point, kinds, config, origin="" if number else "default")
            reports = list(curve.reports)
            outcome = reports[-1].outcome
            if number < pruned:
                reports, outcome = reports[:2], Outcome.PRUNED
            length, outcome = dict(ends).get(number, (len(reports), outcome))
            reports = reports[:length]
            for report in reports:
                journal.report(number, report)
            journal.end(TrialRecord(number, point, config, reports=reports), outcome, "why")
        journal.flush()
        return found

    return make


def test_a_stored_study_is_what_it_was_made_of(stored, recording, study):
    journal = stored().journal()
    found = recording_of(journal.trials(), study.space.axes(), METRIC, "min")
    assert found.whole
    assert {curve.reports[-1].reason for curve in found.curves} == {"why"}
    assert [curve.point for curve in found.curves] == [curve.point for curve in recording.curves]
    policies = [Policy(None, NONE), Policy(None, ASHA), Policy(Sampler(name="random"), ASHA)]
    told = []
    result = replay(journal, policies, workers=2, repeats=3, note=told.append)
    assert told == ["recorded + none", "recorded + asha", "random + asha"]
    assert [len(each.plays) for each in result.results] == [1, 1, 3]
    exact = play(study, recording, Policy(None, ASHA), 2, 0)
    assert result.results[1].plays[0].best == exact.best
    assert all(each.params == recording.curves[0].point for each in _firsts(result.results[2]))
    assert len(result.notes) == 1
    assert "stands in" in result.notes[0]
    assert "random + asha" in result.advice or "recorded" in result.advice


def _firsts(result):
    """What each play of a policy tried first: what the study began with."""
    return [played.trials[0] for played in result.plays]


def test_that_trials_were_pruned_is_said(stored):
    result = replay(stored(pruned=12).journal(), [Policy(None, NONE)], workers=2)
    assert result.notes[0].startswith(
        "12 trials were stopped by the study's pruner (none), of 40: nobody"
    )
    assert result.notes[1] == "so many trials were lost so, on average: recorded + none: 12.0"


def test_who_did_not_pay_for_what_was_cut_short_is_not_advised(stored):
    """What goes on where a pruner had stopped seems fast, since nobody knows what that costs."""
    found = replay(stored(pruned=12).journal(), [Policy(None, NONE), Policy(None, ASHA)])
    free, exact = (replace(each, reached=(1.0,)) for each in found.results)
    exact = replace(exact, plays=tuple(replace(play, cut=0) for play in exact.plays))
    slow = replace(exact, reached=(2.0,))
    assert (free.lost, exact.lost) == (12, 0)
    for fast, told in (
        (1.0, "The policies are alike here: recorded + asha is"),
        (0.1, "recorded + none seems the best: "),
    ):
        quick = replace(free, reached=(fast,))
        assert _advice(replace(found, results=(quick, exact))).startswith(told)
    told = "; but what 12.0 of its 40 trials would have cost further nobody knows: to choose, replay"
    assert told in _advice(replace(found, results=(free, slow)))
    alike = _advice(replace(found, results=(free, replace(free, policy=exact.policy))))
    assert alike.startswith("The policies seem alike here")
    assert told in alike
    honest = _advice(replace(found, results=(replace(free, reached=(9.0,)), slow)))
    assert honest.startswith("Take recorded + asha: ")
    assert "nobody knows" not in honest


def test_the_default_is_paused_by_nobody_in_a_play_either(stored, study):
    journal = stored().journal()
    whole = recording_of(journal.trials(), study.space.axes(), METRIC, "min")
    worst = max(range(40), key=lambda at: whole.best_of([at]))
    order = [at for at in range(40) if at != worst] + [
        worst
    ]  # it comes to rungs of which it is the last
    for origin, expected in (("default", Outcome.COMPLETED), ("", Outcome.PRUNED)):
        curves = list(whole.curves)
        curves[worst] = replace(curves[worst], origin=origin)
        found = Recording(whole.axes, METRIC, "min", curves)
        spec = replace(study, plan=study.plan.model_copy(update={"pruner": SECOND_CHANCES}))
        played = Simulation(spec, Recorded(spec, found, order), found, workers=2).run()
        assert (played.trials[-1].origin, played.trials[-1].outcome) == (origin, expected)
    assert whole.curves[0].origin == "default"


def test_what_has_not_ended_and_what_cannot_be_played_is_said(stored):
    ends = {5: (3, Outcome.INTERRUPTED), 8: (2, Outcome.FAILED), 9: (0, Outcome.FAILED)}
    first, lost, last = replay(stored(pruned=2, ends=ends).journal(), [Policy(None, NONE)]).notes
    told = "2 trials were stopped by the study's pruner (none) and 1 trial had not ended yet, of 38"
    assert first.startswith(f"{told}: nobody knows")
    assert lost == "so many trials were lost so, on average: recorded + none: 3.0"
    assert last == "2 trials of the study ended in an error or never reported: none is played"


TOOK = "Take random + asha: within 5 % of the best"
SOME = "recorded + none"
UNSURE = "has the least median, but the plays do not tell it from"


@pytest.mark.parametrize(
    ("quick", "slow", "said"),
    [
        ([2.0] * 6, [4.0] * 6, f"{TOOK} 2.0 times as fast as {SOME}, sooner in 6 of 6 plays. "),
        ([2.0] * 6, [2.1, *[4.0] * 5], f"{TOOK} 2.0 times as fast as {SOME}, sooner in 6 of 6 plays. "),
        ([2.0] * 6, [1.9, *[4.0] * 5], f"random + asha {UNSURE} {SOME}: play more of them (repeats). "),
        (
            [2.0] * 6,
            [4.0, *[math.inf] * 5],
            f"{TOOK} in time, {SOME} in less than half of its plays, sooner in 6 of 6 plays. ",
        ),
        ([2.0] * 6, [2.2] * 6, "The policies are alike here: random + asha is as good as any. "),
        (
            [math.inf] * 6,
            [math.inf] * 6,
            "No policy came within 5 % of the best in half of its plays. ",
        ),
    ],
)
def test_the_advice_tells_who_was_faster_and_how_surely(recording, quick, slow, said):
    policies = Policy(None, NONE), Policy(Sampler(name="random"), ASHA)
    results = [Result(p, (Played(),), tuple(r)) for p, r in zip(policies, (slow, quick), strict=True)]
    assert _advice(Replay(METRIC, recording, 2, tuple(results), ())).startswith(said)


def test_plays_that_never_came_there_are_said_beside_the_advice(stored):
    found = replay(stored().journal(), [Policy(None, NONE), Policy(Sampler(name="random"), ASHA)])
    slow, quick = (replace(each, reached=(9.0,) * 20) for each in found.results)
    often = replace(quick, reached=(*[1.0] * 14, *[math.inf] * 6))
    for reached in (9.0, 1.05):
        other = replace(slow, reached=(reached,) * 20)
        told = "; but in 6 of 20 plays random + asha never came there, and recorded + none always did."
        assert told in _advice(replace(found, results=(often, other)))
    rarely = replace(slow, reached=(*[9.0] * 11, *[math.inf] * 9))
    told = "sooner in 14 of 20 plays; but in 6 of 20 plays random + asha never came there. "
    assert told in _advice(replace(found, results=(often, rarely)))
    assert "never" not in _advice(replace(found, results=(replace(quick, reached=(1.0,) * 20), rarely)))
    nobody = replace(slow, reached=(math.inf,) * 20)
    assert "but" not in _advice(replace(found, results=(nobody, replace(nobody, policy=quick.policy))))


def test_what_is_not_told_from_the_best_and_often_never_came_there_is_said(stored):
    found = replay(stored().journal(), [Policy(None, NONE), Policy(Sampler(name="random"), ASHA)])
    sure, quick = (replace(each, reached=(9.0,) * 20) for each in found.results)
    quick = replace(quick, reached=(*[1.0] * 9, *[math.inf] * 11))
    advice = _advice(replace(found, results=(quick, sure)))
    assert "not tell it from random + asha: play more of them (repeats); but in 11 of 20" in advice
    assert "11 of 20 plays random + asha never came there, and recorded + none always did." in advice


@pytest.mark.parametrize(
    ("sooner", "others", "told"),
    [  # of 20 plays: 2 P(at most 5 of 20) = 0.041, at most 4: 0.012, at most 6: 0.115
        (15, 1, "3.0 times as fast as {slow}, sooner in 15 of 20 plays. "),
        (14, 1, "has the least median, but the plays do not tell it from {slow}: play more of them"),
        (15, 2, "has the least median, but the plays do not tell it from {also} and {slow}: "),
        (16, 2, "3.0 times as fast as {slow}, sooner in 16 of 20 plays; {also} is not told from it. "),
    ],
)
def test_what_is_to_be_taken_is_told_from_what_is_slower_by_chance(stored, sooner, others, told):
    policies = [Policy(Sampler(name=name), ASHA) for name in ("random", "tpe", "qmc")]
    found = replay(stored().journal(), policies, repeats=2)
    quick, slow, also = found.results
    quick = replace(quick, reached=(3.0,) * 20)
    slow = replace(slow, reached=(*[9.0] * sooner, *[1.0] * (20 - sooner)))
    also = replace(also, reached=(*[1.0] * 8, *[4.0] * 12))
    advice = _advice(replace(found, results=(also, slow, quick)[2 - others :]))
    assert "random + asha" in advice.split(":")[0]
    assert told.format(slow="tpe + asha", also="qmc + asha") in advice


def test_one_play_without_chance_is_held_against_all_of_anothers(stored):
    found = replay(stored().journal(), [Policy(None, NONE), Policy(Sampler(name="random"), ASHA)])
    once, often = found.results
    once = replace(once, reached=(3.0,))
    often = replace(often, reached=(*[9.0] * 12, *[3.0] * 3, *[math.inf], *[1.0] * 4))
    assert once.against(often) == (13, 4, 20)
    assert often.against(once) == (4, 13, 20)
    exact = [replace(once, reached=(3.0,)), replace(once, policy=Policy(None, ASHA), reached=(9.0,))]
    assert "3.0 times as fast as recorded + asha. " in _advice(replace(found, results=tuple(exact)))


def test_one_play_of_a_sampler_says_nothing(stored):
    """Another seed of its search would have proposed otherwise."""
    drawn = [Policy(Sampler(name="random"), pruner) for pruner in (NONE, ASHA)]
    found = replay(stored().journal(), [Policy(None, NONE), *drawn], repeats=1)
    one, two, three = (
        replace(r, reached=(t,)) for r, t in zip(found.results, (9.0, 3.0, 1.0), strict=True)
    )
    for quick, slow in ((three, two), (three, one), (replace(one, reached=(1.0,)), two)):
        assert f"{UNSURE} {slow.policy.label}: " in _advice(replace(found, results=(slow, quick)))


def test_who_came_near_in_half_of_its_plays_is_not_said_twice(stored):
    found = replay(stored().journal(), [Policy(None, NONE), Policy(Sampler(name="random"), ASHA)])
    never, seldom = (replace(each, reached=(math.inf,) * 20) for each in found.results)
    seldom = replace(seldom, reached=(*[1.0] * 9, *[math.inf] * 11))
    for results in ((never, seldom), (seldom, never)):
        advice = _advice(replace(found, results=results))
        assert advice.startswith("No policy came within 5 % of the best in half of its plays. ")


def test_that_few_trials_were_lost_is_not_said_as_none(stored):
    """Of a hundred plays one lost a single trial."""
    found = replay(stored(pruned=12).journal(), [Policy(None, NONE), Policy(None, ASHA)])
    quick, slow = (replace(each, reached=(at,)) for each, at in zip(found.results, (1, 9), strict=True))
    plays = [replace(play, cut=cut) for play in quick.plays for cut in (*[0] * 99, 1)]
    seldom = replace(quick, plays=tuple(plays))
    told = "; but what under 0.1 of its 40 trials would have cost further nobody knows: to choose"
    assert told in _advice(replace(found, results=(seldom, slow)))


def test_no_finite_objective_is_refused(study, tmp_path):
    directory = StudyDirectory(tmp_path / "runs" / "study")
    create(study, StoredStudy(directory), None)
    with pytest.raises(UserError, match="nothing can be replayed"):
        replay(StoredStudy(directory).journal(), [Policy(None, NONE)])


def test_parts_are_checked(study):
    bad = [Sampler.model_validate({"name": "tpe", "startup": 3}), Sampler(name="tpo")]
    with pytest.raises(UserError) as caught:
        policies_of(bad, [NONE], study.example())
    assert "startup" in str(caught.value)
    assert "did you mean 'tpe'" in str(caught.value)
    assert "--sampler tpe (startup: 3): startup: not an option" in str(caught.value).replace("'", "")
    late = Pruner.model_validate({"name": "asha", "min_steps": 1000})
    with pytest.raises(UserError, match=r"more than budget\.steps"):
        policies_of([None], [late], study.example())


def test_a_policy_is_played_once_and_told_as_a_study_file_has_it(study):
    strong = Sampler.model_validate({"name": "tpe", "belief": "strong"})
    found = policies_of([strong, None, strong], [ASHA, NONE, ASHA], study.example())
    assert [policy.label for policy in found] == [
        "tpe (belief: strong) + asha",
        "tpe (belief: strong) + none",
        "recorded + asha",
        "recorded + none",
    ]


@pytest.mark.parametrize("samplers", [[], "random"])
def test_samplers_are_a_list_of_one_or_more(stored, tmp_path, samplers):
    with pytest.raises(UserError, match=r"samplers:? must be a list"):
        api.replay("study", samplers=samplers, repeats=1, runs_dir=tmp_path / "runs")


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ({"samplers": [{"name": "tpe", "belief": "huge"}]}, "--sampler: belief must be 'none', 'weak'"),
        ({"pruners": [{"name": 3}]}, "--pruner: name needs text, not 3"),
    ],
)
def test_what_is_wrong_with_a_part_is_said_at_its_key(stored, tmp_path, parts, said):
    stored()
    with pytest.raises(UserError) as caught:
        api.replay("study", **parts, repeats=1, runs_dir=tmp_path / "runs")
    assert str(caught.value).startswith(said)


@pytest.mark.parametrize("value", ["null", "[asha]", "3"])
def test_what_is_no_part_is_said_at_its_option(value):
    with pytest.raises(UserError) as caught:
        part_options("--pruner", ["asha", value])
    assert str(caught.value).startswith(f"--pruner {value}: needs a name, or a mapping with one")


def test_by_its_name(stored, tmp_path):
    from typer.testing import CliRunner

    from gansearch.cli import app

    stored()
    found = api.replay("study", repeats=1, runs_dir=tmp_path / "runs")
    assert [result.policy.label for result in found.results] == ["recorded + none"]
    assert found.advice.startswith("recorded + none alone was played: name another sampler")
    picture = tmp_path / "a folder that is not there" / "regret.svg"
    words = ["replay", "study", "--runs-dir", str(tmp_path / "runs"), "--repeats", "2"]
    words += ["--sampler", "random", "--sampler", "recorded", "--out", str(picture)]
    words += ["--pruner", "{name: asha, second_chances: true}", "--pruner", "none"]
    done = CliRunner().invoke(app, words, catch_exceptions=False)
    assert done.exit_code == 0
    assert "random + asha (second_chances: true)" in done.stdout
    assert "40 recorded trials" in done.stdout
    assert picture.read_text().startswith("<svg")
    assert api.replay("study", samplers=["random"], pruners=["none"], runs_dir=tmp_path / "runs").advice


@pytest.mark.parametrize("policies", [1, 11])
def test_the_figure_of_regret_can_be_read(stored, policies):
    found = replay(stored().journal(), [Policy(None, NONE)])
    made = [
        Policy(None, Pruner.model_validate({"name": "asha", "min_steps": n + 1})) for n in range(11)
    ]
    results = [replace(found.results[0], policy=policy) for policy in made[:policies]]
    with styled():
        figure = regret_curves(replace(found, results=tuple(results)))
        figure.draw_without_rendering()
        (axes,), (below,) = figure.axes, figure.legends
        ticks = [label.get_text() for label in axes.get_yticklabels()]
        assert [tick for tick in ticks if tick]
        assert not [tick for tick in ticks if "$" in tick], "in letters, not as mathematics"
        assert axes.bbox.height > 0.4 * below.get_window_extent().height
        side = axes.yaxis.label.get_window_extent()
        assert figure.bbox.y0 <= side.y0
        assert side.y1 <= figure.bbox.y1
    lines = {(line.get_color(), line.get_linestyle()) for line in axes.lines}
    assert len(lines) == policies + 1, "each is told from the others"
    assert [text.get_text() for text in below.get_texts()][-1] == "within 5 % of the best"


def test_a_pruner_that_is_kept_with_the_study_plays_wherever_one_asks(stored, tmp_path):
    folder = stored().directory.modules
    folder.mkdir()
    (folder / "kept_with_it.py").write_text(
        "from gansearch.search.pruners import Verdict\n"
        "class Mine:\n"
        "    def __init__(self, config): pass\n"
        "    def judge(self, trial, report): return Verdict()\n"
    )
    found = api.replay("study", pruners=["kept_with_it:Mine"], runs_dir=tmp_path / "runs")
    (result,) = found.results
    assert result.policy.label == "recorded + kept_with_it:Mine"
    assert len(result.plays[0].trials) == 40


def test_a_simulation_takes_a_pruner_of_its_own(study, recording):
    from gansearch.search.pruners import GO_ON

    class Counts:
        heard = 0

        def judge(self, trial, report):
            self.heard += 1
            return GO_ON

    pruner = Counts()
    source = Recorded(study, recording, order=[3, 2])
    played = Simulation(study, source, recording, trials=2, pruner=pruner).run()
    assert pruner.heard == 18
    assert [trial.params for trial in played.trials] == [recording.curves[i].point for i in (3, 2)]


def test_a_pruner_is_told_when_no_new_trial_is_left_and_who_waits_for_good_was_pruned(study, recording):
    class Last:
        """Pauses all at their first report, and lets the even ones go on when all have been begun."""

        def judge(self, trial, report):
            return Verdict(Decision.PAUSE, "waits") if len(trial.reports) == 1 else Verdict()

        def choose(self, paused, fresh):
            even = [trial.number for trial in paused if trial.number % 2 == 0]
            return None if fresh or not even else Wake(even[0], "all have been begun")

    source = Recorded(study, recording)
    trials = Simulation(study, source, recording, workers=3, pruner=Last()).run().trials
    assert {trial.outcome for trial in trials[::2]} == {Outcome.COMPLETED}
    assert {(trial.outcome, trial.reason) for trial in trials[1::2]} == {(Outcome.PRUNED, "waits")}


@pytest.mark.parametrize("answer", [None, "stop", Verdict(Decision.STOP, 3), Verdict(Decision.PAUSE)])
def test_a_pruner_that_answers_oddly_is_told_in_a_play_too(study, recording, answer):
    class Odd:
        def judge(self, trial, report):
            return answer

    source = Recorded(study, recording)
    with pytest.raises(StudyError, match=r"the pruner '.*' answers with"):
        Simulation(study, source, recording, pruner=Odd()).run()


@pytest.mark.parametrize("choice", [3, Wake(0, None), Wake(99, "so")])
def test_a_pruner_that_chooses_oddly_is_told_in_a_play_too(study, recording, choice):
    class Odd:
        def judge(self, trial, report):
            return Verdict(Decision.PAUSE, "waits")

        def choose(self, paused, fresh):
            return choice

    source = Recorded(study, recording)
    with pytest.raises(StudyError, match=r"the pruner '.*' (chooses|wakes) "):
        Simulation(study, source, recording, pruner=Odd()).run()


# Budgets, and what was learnt before


def test_a_budget_in_hours_ends_a_play_as_it_ends_a_study(study, recording):
    whole = play(study, recording, Policy(None, NONE), 2, 0)
    assert whole.over == ""
    half = whole.busy / 2
    budget = SearchBudget(device_hours=half / 3600)
    search = study.plan.search.model_copy(update={"budget": budget})
    short = replace(study, plan=study.plan.model_copy(update={"search": search}))
    played = play(short, recording, Policy(None, SECOND_CHANCES), 2, 0)
    assert played.over == "", "with second chances half of the time is enough"
    played = play(short, recording, Policy(None, NONE), 2, 0)
    assert "device-hours are spent" in played.over
    ends = [curve.reports[-1].outcome for curve in recording.curves]
    assert [t.outcome for t in played.trials] == ends[: len(played.trials)], (
        "what runs comes to its end"
    )
    longest = max(curve.reports[-1].seconds for curve in recording.curves)
    assert half <= played.busy <= half + 2 * longest


def test_what_ended_plays_is_said(stored, study):
    budget = "pruner: none\nsearch: {sampler: random, budget: {trials: 40, device_hours: 0.01}}\n"
    journal = stored(budget=budget).journal()
    found = replay(journal, [Policy(None, NONE), Policy(Sampler(name="random"), NONE)], repeats=2)
    (told,) = (note for note in found.notes if "ended before" in note)
    assert told == (
        "plays that the study's own limits ended before all trials were tried: recorded + none 1 of 1, "
        "random + none 2 of 2; the first because its 0.01 device-hours are spent"
    )


def test_a_play_learns_from_the_studies_from_which_the_study_learnt(stored, study, recording):
    lessons = tuple(
        Lesson(curve.number, curve.point, "COMPLETE", 90, values_at(curve.point)[-1])
        for curve in recording.curves[:12]
    )
    journal = stored(learnt=(Learnt("earlier", lessons),)).journal()
    spec = stored_spec(journal)
    assert spec.learnt == (Learnt("earlier", lessons),)
    policy = Policy(Sampler(name="tpe"), NONE)
    shown = StandIns(replace(spec, start=()), recording)
    assert [t.params for t in shown._view.trials] == [lesson.point for lesson in lessons]
    knowing, ignorant = (
        play(replace(spec, start=(), learnt=learnt), recording, policy, 1, 0)
        for learnt in (spec.learnt, ())
    )
    assert knowing.trials[0].params != ignorant.trials[0].params, "the first is no random one"


def test_a_stored_study_that_this_version_cannot_read_is_told(stored):
    journal = stored().journal(writer=True)
    text = journal.facts["study"].replace("reduction_factor: 3", "novel: [1]")
    journal.set_facts({"study": text.replace("keep: 2", "keep: {a: 1}")})
    with pytest.raises(
        InvalidInput, match=r"(?s)'study', as launched: 1 mistake.*keep: needs an integ"
    ):
        stored_spec(journal)
