"""Health rules by a table of curves: what is stopped, at which report, under which name."""

import math

import pytest

from gansearch.study.config import TrialConfig
from gansearch.study.records import Outcome, Report
from gansearch.training.health import Health, silent
from gansearch.training.health.collapse import SLIGHT
from gansearch.training.measuring import doubt

HEALTHY = {
    "d_loss": 1.2,
    "g_loss": 0.8,
    "d_grad_norm": 1.0,
    "g_grad_norm": 0.5,
    "d_weight_growth": 1.1,
    "g_weight_growth": 1.1,
    "d_error_real": 0.2,
    "d_error_fake": 0.2,
    "d_doubt": 0.8,
    "diversity": 0.8,
    "reach": 0.9,
    "fd_classifier": 20.0,
}


def curve(**columns):
    """Ten reports of a healthy trial, with some columns changed: a list, or a value for all."""
    for i in range(10):
        row = {k: v[i] if isinstance(v, list) else v for k, v in columns.items()}
        yield Report((i + 1) * 100, 0, 0.0, HEALTHY | row, 0.0)


def judge(config, reports):
    """(report at which it stops, outcome, reason), or None."""
    health = Health(config)
    for i, report in enumerate(reports):
        verdict = health.observe(report)
        if verdict.outcome:
            return i + 1, verdict.outcome, verdict.reason
    return None


def config(**sections):
    budget = {"steps": 1000, "report_every": 100}
    return TrialConfig.model_validate({"budget": budget, **sections})


def late(value, start, healthy):
    return [healthy] * start + [value] * (10 - start)


TABLE = {
    "healthy": ({}, None),
    "slow, not yet varied": ({"diversity": [0.001 * (i + 1) for i in range(10)]}, None),
    "one bad report": ({"diversity": [0.8] * 4 + [0.01] + [0.8] * 5}, None),
    "critic's big losses": ({"d_loss": -5e4, "g_loss": 3e4}, None),
    "loss is nan": ({"g_loss": late(math.nan, 3, 1.0)}, (4, "diverged", "generator's loss: nan")),
    "gradient is inf": (
        {"d_grad_norm": late(math.inf, 6, 1.0)},
        (7, "diverged", "discriminator's gradient norm: inf"),
    ),
    "samples are nan": (
        {"diversity": late(math.nan, 2, 0.8)},
        (3, "diverged", "the generator's samples are not finite"),
    ),
    "weights are nan": ({"d_weight_growth": math.nan}, (1, "diverged", "weights: nan")),
    "weights explode": (
        {"g_weight_growth": late(500.0, 2, 1.5)},
        (3, "diverged", "generator's weights have grown 500-fold"),
    ),
    "loss explodes": ({"d_loss": late(-2e7, 5, -1.0)}, (6, "diverged", "loss is -2e+07")),
    "deaf from the start": ({"diversity": 0.0}, (2, "collapsed", "no two images have ever differed")),
    "deaf but for rounding": ({"diversity": 4e-8}, (2, "collapsed", "have ever differed")),
    "a speck that may yet grow": ({"diversity": [3e-6] + [0.0] * 5 + [0.1] * 4}, None),
    "a speck at the end": (
        {"diversity": [3e-6] * 4 + [0.01] * 4 + [1e-6] * 2},
        (10, "collapsed", "hardly differ: 1e-06 of the real images' variance"),
    ),
    "loses its variety": (
        {"diversity": late(0.01, 3, 0.8)},
        (8, "collapsed", "0.01 of the real images' variance, down from 0.8, 5 reports in a row"),
    ),
    "loses its variety and has it back": ({"diversity": [0.8] * 3 + [0.01] * 4 + [0.8] * 3}, None),
    "ends without its variety": (
        {"diversity": late(0.01, 8, 0.8)},
        (10, "collapsed", "down from 0.8, 2 reports in a row"),
    ),
    "loses its modes": (
        {"reach": late(0.4, 4, 0.9)},
        (10, "collapsed", "reach 0.4 of where the real images lie, down from 0.9, 5 reports in a row"),
    ),
    "keeps two thirds of its modes": ({"reach": late(0.6, 4, 0.9)}, None),
    "loses its modes and has them back": ({"reach": [0.9] * 3 + [0.3] * 4 + [0.9] * 3}, None),
    "modes that come and go": ({"reach": [0.9, 0.3, 0.9] * 3 + [0.3]}, None),
    "never had more than a few modes": ({"reach": late(0.02, 5, 0.2)}, None),
    "noise that lay anywhere, before it learnt": ({"reach": [1.0] * 1 + [0.1] * 9}, None),
    "a speck that never reached more than a few modes": (
        {"diversity": [0.3, 0.1] + [0.003] * 8, "reach": [0.3, 0.2] + [0.1] * 8},
        None,
    ),
    "a speck that had reached a half": (
        {"diversity": [0.3] * 3 + [0.003] * 7, "reach": [0.5] * 3 + [0.1] * 7},
        (8, "collapsed", "0.003 of the real images' variance, down from 0.3, 5 reports in a row"),
    ),
    "a worse objective of who never reached more than a few modes": (
        {"fd_classifier": late(200.0, 4, 20.0), "reach": late(0.05, 4, 0.2)},
        None,
    ),
    "a speck is near to all that is around it": (
        {"diversity": late(0.5, 5, 0.01), "reach": late(0.4, 5, 1.0)},
        None,
    ),
    "an objective far worse than it was, all modes kept": (
        {"fd_classifier": late(200.0, 3, 20.0)},
        None,
    ),
    "an objective far worse than it was, and a third of the modes lost": (
        {"fd_classifier": late(200.0, 4, 20.0), "reach": late(0.61, 4, 0.9)},
        (10, "collapsed", "fd_classifier went from 20 to 200, and reach from 0.9 to 0.61, 5 reports"),
    ),
    "far worse, reach unknown": (
        {"fd_classifier": late(200.0, 3, 20.0), "reach": math.nan},
        (8, "collapsed", "fd_classifier went from 20 to 200, 5 reports in a row"),
    ),
    "ends far worse, reach unknown": (
        {
            "fd_classifier": [60.0, 40.0, 30.0, 25.0, 22.0, 20.0, 24.0, 25.0, 37.0, 38.0],
            "reach": math.nan,
        },
        (10, "collapsed", "fd_classifier went from 20 to 38, 2 reports in a row"),
    ),
    "far worse and back, reach unknown": (
        {"fd_classifier": [20.0] * 3 + [200.0] * 4 + [25.0] * 3, "reach": math.nan},
        None,
    ),
    "two bad reports that recover, as at the start of noisy training": (
        {
            "fd_classifier": [40.0, 20.0, 40.0, 19.0, 38.0, 18.0, 39.0, 38.0, 39.0, 38.0],
            "reach": math.nan,
        },
        None,
    ),
    "the last report alone is far worse": (
        {"fd_classifier": late(60.0, 9, 20.0), "reach": math.nan},
        None,
    ),
    "the discriminator is sure, and the generator still learns": (
        {"d_doubt": 0.001, "fd_classifier": [100.0 * 0.9**i for i in range(10)]},
        None,
    ),
    "the discriminator is sure, and the generator learns no longer": (
        {"d_doubt": 0.001, "fd_classifier": [100.0, 80.0, 60.0, 50.0] + [49.0] * 6},
        (6, "stalled", "sure of every image"),
    ),
    "the discriminator is sure, and the objective is no number": (
        {"d_doubt": 0.001, "fd_classifier": math.nan},
        (2, "stalled", "sure of every image"),
    ),
    "discriminator is sure of everything": (
        {"d_doubt": late(0.001, 4, 0.8)},
        (6, "stalled", "sure of every image"),
    ),
    "the discriminator is sure, and the generator learns by a fifteenth at a time": (
        {"d_doubt": 0.001, "fd_classifier": [100.0 * 0.935**i for i in range(10)]},
        None,
    ),
    **{
        f"without a gradient it {words}": (
            {"d_error_real": real, "d_error_fake": fake, "d_grad_norm": late(0.5, 4, 100.0)},
            (6, "stalled", f"the discriminator {words} and its gradient is 0.005 of its largest"),
        )
        for real, fake, words in (
            (0.0, 1.0, "takes every image for a real one"),
            (1.0, 0.0, "takes every image for a generated one"),
            (1.0, 1.0, "is wrong about every image"),
        )
    },
    "without a gradient it guesses of one side": (
        {"d_error_real": 0.5, "d_error_fake": 0.4, "d_grad_norm": late(1e-4, 4, 1.0)},
        None,
    ),
    "without a gradient it knows all": (
        {"d_error_real": 0.0, "d_error_fake": 0.0, "d_grad_norm": late(1e-4, 4, 1.0)},
        None,
    ),
    "a gradient of a fiftieth of its largest": (
        {"d_error_real": 0.5, "d_error_fake": 0.5, "d_grad_norm": late(0.02, 4, 1.0)},
        None,
    ),
    "the discriminator is sure, and the generator learns by a fortieth at a time": (
        {"d_doubt": 0.001, "fd_classifier": [100.0 * 0.975**i for i in range(10)]},
        (2, "stalled", "sure of every image"),
    ),
    "worse by more than twice what is usual": (
        {
            "fd_classifier": [40.0, 50.0, 30.0, 40.0, 20.0, 20.0, 20.0, 20.0, 44.0, 44.0],
            "reach": math.nan,
        },
        (10, "collapsed", "fd_classifier went from 20 to 44, 2 reports in a row"),
    ),
    "worse by less than that": (
        {
            "fd_classifier": [40.0, 50.0, 30.0, 40.0, 20.0, 20.0, 20.0, 20.0, 39.0, 39.0],
            "reach": math.nan,
        },
        None,
    ),
    "loses a little more than a third of its modes": (
        {"reach": late(0.64, 4, 1.0)},
        (10, "collapsed", "reach 0.64 of where the real images lie, down from 1, 5 reports in a row"),
    ),
    "loses most of a few modes": (
        {"reach": late(0.1, 4, 0.26)},
        (10, "collapsed", "reach 0.1 of where the real images lie, down from 0.26"),
    ),
    "an objective far worse than it was, and a quarter of the modes lost": (
        {"fd_classifier": late(200.0, 4, 20.0), "reach": late(0.74, 4, 1.0)},
        (10, "collapsed", "fd_classifier went from 20 to 200, and reach from 1 to 0.74"),
    ),
    "discriminator only guesses, without a gradient": (
        {"d_error_real": 0.5, "d_error_fake": 0.5, "d_grad_norm": late(1e-4, 4, 1.0)},
        (6, "stalled", "only guesses"),
    ),
    "the discriminator takes all for real, and is worse than a guess": (
        {"d_doubt": 1.4, "d_error_fake": 1.0},
        (5, "stalled", "takes every generated image for a real one and does not learn better"),
    ),
    "it does so, and the generator still learns": (
        {"d_doubt": 1.4, "d_error_fake": 1.0, "fd_classifier": [100.0 * 0.9**i for i in range(10)]},
        None,
    ),
    "it does so at first, and learns late": (
        {"d_doubt": [1.4] * 4 + [0.8] * 6, "d_error_fake": [1.0] * 4 + [0.3] * 6},
        None,
    ),
    "it takes nearly all for real": ({"d_doubt": 1.4, "d_error_fake": 0.9}, None),
    "a critic has no guess to be worse than": ({"d_doubt": 1.0, "d_error_fake": 1.0}, None),
    "hardly a gradient, but it tells real from generated": (
        {"d_error_real": 0.45, "d_error_fake": 0.52, "d_grad_norm": late(1e-4, 4, 1.0)},
        None,
    ),
    "guessing alone is what a good generator brings about": (
        {"d_error_real": 0.5, "d_error_fake": 0.5},
        None,
    ),
    "the discriminator is sure, and modes are lost": (
        {"d_doubt": late(0.001, 4, 0.8), "reach": late(0.4, 3, 0.9)},
        (6, "collapsed", "reach 0.4 of where the real images lie, down from 0.9, 2 reports in a row"),
    ),
    "the discriminator is sure, and a last report has lost its modes": (
        {"d_doubt": late(0.001, 4, 0.8), "reach": late(0.4, 4, 0.9)},
        (6, "stalled", "sure of every image"),
    ),
    "the first sentence is the gravest": (
        {"diversity": 0.0, "d_doubt": 0.0, "g_loss": late(math.nan, 1, 1.0)},
        (2, "diverged", "nan"),
    ),
}


@pytest.mark.parametrize(("columns", "expected"), TABLE.values(), ids=TABLE)
def test_curves(columns, expected):
    found = judge(config(), curve(**columns))
    if expected is None:
        assert found is None
        return
    assert found is not None
    at, outcome, words = expected
    assert found[:2] == (at, Outcome(outcome))
    assert words in found[2]
    assert f"at step {at * 100}" in found[2]


@pytest.mark.parametrize(
    ("rule", "columns"),
    [
        ("diverged", {"g_loss": math.nan}),
        ("collapsed", {"diversity": 0.0}),
        ("stalled", {"d_doubt": 0.0}),
    ],
)
def test_a_rule_can_be_switched_off(rule, columns):
    assert judge(config(), curve(**columns))[1] == Outcome(rule)
    assert judge(config(health={rule: False}), curve(**columns)) is None


@pytest.mark.parametrize(
    "columns",
    [
        {"d_doubt": math.nan},
        {"d_doubt": math.nan, "d_error_fake": 1.0},
        {"d_doubt": math.inf, "d_error_fake": 1.0},
        {"d_error_real": 0.5, "d_error_fake": 0.5, "d_grad_norm": math.nan},
        {"d_error_real": 0.5, "d_error_fake": 0.5, "d_grad_norm": [math.inf] + [1.0] * 9},
        {"diversity": math.nan, "reach": math.nan},
        {"diversity": late(math.nan, 4, 0.8), "reach": late(math.nan, 4, 0.9)},
        {"diversity": late(math.nan, 8, 0.8)},
    ],
)
def test_what_is_not_finite_has_neither_collapsed_nor_stalled(columns):
    assert judge(config(health={"diverged": False}), curve(**columns)) is None


def test_an_untrained_generator_s_variance_is_nothing_to_lose():
    noise = {"diversity": [0.8, 0.8] + [0.01] * 8, "reach": math.nan}
    assert judge(config(), curve(**noise))[1] is Outcome.COLLAPSED
    assert judge(config(health={"collapsed": {"warmup": 0.25}}), curve(**noise)) is None


def test_thresholds_patience_and_warm_up_are_the_study_s():
    patient = config(health={"collapsed": {"patience": 4, "warmup": 0.5}})
    assert judge(patient, curve(diversity=0.0))[0] == 8
    assert judge(patient, curve(diversity=late(0.01, 7, 0.8))) is None
    assert judge(patient, curve(diversity=late(0.01, 6, 0.8)))[0] == 10
    hasty = config(health={"collapsed": {"patience": 1}})
    assert judge(hasty, curve(diversity=0.0))[2] == "no two images have ever differed, at step 100"
    tolerant = config(health={"diverged": {"weight_growth": 1000.0}})
    assert judge(tolerant, curve(g_weight_growth=500.0)) is None
    loose = config(health={"collapsed": {"worsening": None}})
    assert judge(loose, curve(fd_classifier=late(9999.0, 5, 1.0), reach=math.nan)) is None


def test_what_lies_at_a_threshold():
    """Bounds of what is healthy are healthy; `min_doubt`, `min_error` and `min_gradient` are ill."""
    at = {"d_loss": 1e6, "g_loss": -1e6, "d_weight_growth": 30.0, "diversity": [0.8] * 5 + [0.05] * 5}
    assert judge(config(), curve(**at)) is None
    lost = {"reach": late(0.65, 4, 1.0), "fd_classifier": late(30.0, 4, 20.0)}
    assert judge(config(), curve(**lost)) is None
    fallen = {"reach": late(0.75, 4, 1.0), "fd_classifier": late(99.0, 4, 20.0)}
    assert judge(config(), curve(**fallen)) is None
    speck = {"diversity": [3e-6] * 4 + [0.0002] * 6}
    assert judge(config(), curve(**speck)) is None
    assert judge(config(), curve(d_doubt=0.015))[1] is Outcome.STALLED
    fooled = {"d_doubt": 1.4, "d_error_fake": 0.995}
    assert judge(config(), curve(**fooled))[1] is Outcome.STALLED
    frozen = {"d_error_real": 0.005, "d_error_fake": 1.0, "d_grad_norm": late(0.01, 1, 1.0)}
    assert judge(config(), curve(**frozen))[1] is Outcome.STALLED


def many(values, **columns):
    """A hundred reports, one for each per cent of the budget of `config()`."""
    for i, value in enumerate(values):
        row = {"fd_classifier": value} | columns
        yield Report((i + 1) * 10, 0, 0.0, HEALTHY | row, 0.0)


def test_patience_is_a_share_of_the_budget_where_reports_are_many():
    worse = [20.0] * 50 + [40.0] * 50
    at = judge(config(), many(worse, reach=math.nan))[0]
    assert at == 50 + 35, "over a third, from the first of them to the last"
    brief = [20.0] * 50 + [40.0] * 34 + [20.0] * 16
    assert judge(config(), many(brief, reach=math.nan)) is None
    assert judge(config(), many([20.0] * 100, d_doubt=0.001))[0] == 5 + 10
    guesses = {"d_error_real": 0.5, "d_error_fake": 0.5, "d_grad_norm": 0.0}
    assert judge(config(), many([20.0] * 100, **guesses))[0] == 5 + 5


def test_an_objective_to_be_maximised_that_rises_has_not_stalled():
    upwards = config(objective={"metric": "is_classifier", "goal": "max"})
    rising = [1.0 + 0.2 * i for i in range(10)]
    assert judge(upwards, curve(is_classifier=rising, d_doubt=0.001)) is None
    assert judge(upwards, curve(is_classifier=2.0, d_doubt=0.001))[1] is Outcome.STALLED


def test_worsening_knows_which_way_is_up():
    upwards = config(objective={"metric": "is_classifier", "goal": "max"})
    falling = curve(is_classifier=late(1.0, 5, 8.0), reach=math.nan)
    assert judge(upwards, falling)[1] is Outcome.COLLAPSED
    assert judge(upwards, curve(is_classifier=late(8.0, 5, 1.0), reach=math.nan)) is None


def test_what_is_usual_are_the_falls_of_an_objective_to_be_maximised():
    """They fall by 0.1 and rise by 0.05 at a time: a last fall of 0.12 is one of them."""
    upwards = config(objective={"metric": "mode_overlap", "goal": "max"})
    values = [0.2, 0.1, 0.15, 0.21, 0.1, 0.15, 0.22, 0.1, 0.1, 0.1]
    assert judge(upwards, curve(mode_overlap=values, reach=math.nan)) is None
    steady = [0.2, 0.2, 0.2, 0.21, 0.21, 0.21, 0.22, 0.1, 0.1, 0.1]
    assert judge(upwards, curve(mode_overlap=steady, reach=math.nan))[0] == 10


def test_a_distance_near_0_may_double():
    """Beside the real samples' variance, 1 here, a thousandth and five of them are the same."""
    near = [0.5, 0.001, 0.005, 0.006, 0.005, 0.006, 0.007, 0.006, 0.005, 0.006]
    far = near[:4] + [0.5] * 6

    def stopped(values, scale):
        health = Health(config(), "point", scale)
        verdicts = [health.observe(report) for report in curve(fd_classifier=values, reach=math.nan)]
        return any(verdict.outcome for verdict in verdicts)

    assert not stopped(near, 1.0)
    assert stopped(near, 0.0), "where no scale is known, ratios alone count"
    assert stopped(far, 1.0)
    for grown, counts in ((0.028, False), (0.035, True)):
        assert stopped([0.5, *[0.001] * 4, *[0.001 + grown] * 5], 1.0) == counts


def test_a_training_s_rules_know_how_much_its_real_samples_vary(trainer):
    one = trainer()
    assert one._health.collapse.slight == SLIGHT * one._evaluator.scale("fd_classifier") > 0
    by_loss = trainer(objective={"metric": "d_loss", "goal": "min"}, unsound="allow")
    assert by_loss._health.collapse.slight == 0, "that is no distance"


def test_an_objective_to_be_maximised_that_never_was_anything_has_nothing_to_lose():
    upwards = config(objective={"metric": "mode_overlap", "goal": "max"})
    hardly = [0.003, 0.002, 0.003, 0.0, 0.0, 0.0, 0.0, 0.001, 0.0, 0.0]
    assert judge(upwards, curve(mode_overlap=hardly, reach=math.nan)) is None
    more = curve(mode_overlap=[10 * x for x in hardly], reach=math.nan)
    assert judge(upwards, more)[1] is Outcome.COLLAPSED


@pytest.mark.parametrize("cut", range(1, 8))
def test_rules_shown_a_curve_again_go_on_where_they_were(cut):
    reports = list(curve(diversity=late(0.01, 6, 0.8), reach=late(0.3, 2, 0.9)))
    whole = judge(config(), reports)
    health = Health(config())
    health.replay(reports[:cut])
    for i, report in enumerate(reports[cut:], start=cut + 1):
        verdict = health.observe(report)
        if verdict.outcome:
            assert (i, verdict.outcome, verdict.reason) == whole
            return
    raise AssertionError("not stopped")


def test_doubt_is_one_for_a_guess_and_nothing_for_certainty():
    import torch

    from gansearch.losses import LOSSES

    for name in ("non-saturating", "minimax", "hinge", "least-squares"):
        loss = LOSSES.build(name, {})
        undecided = torch.full((8,), loss.decision)
        target = 1.0 if name == "least-squares" else 30.0
        other = 0.0 if name == "least-squares" else -30.0
        sure = torch.full((8,), target), torch.full((8,), other)
        assert doubt(loss, undecided, undecided, loss.decision) == pytest.approx(1.0)
        assert doubt(loss, *sure, loss.decision) == pytest.approx(0.0, abs=1e-6)
    critic = LOSSES.build("wasserstein", {})
    assert doubt(critic, torch.full((8,), 30.0), torch.full((8,), -30.0), 0.0) == 1.0


@pytest.mark.parametrize(
    ("budget", "health", "words"),
    [
        ({}, {}, []),
        ({}, {"collapsed": {"patience": 10, "warmup": 0.0}}, []),
        ({}, {"collapsed": {"patience": 11}}, ["collapsed can end no trial: it waits for 11 reports"]),
        ({}, {"collapsed": {"warmup": 1.0, "patience": 1}}, []),
        ({}, {"collapsed": {"warmup": 1.0}}, ["step 1,000 on, and 1 of the 10 come then"]),
        ({}, {"stalled": {"warmup": 1.0, "patience": 1}}, ["stalled can end no trial"]),
        ({}, {"stalled": {"patience": 50}, "collapsed": {"patience": 50}}, ["collapsed", "stalled"]),
        ({}, {"stalled": False, "collapsed": False}, []),
        ({"report_every": 10}, {"stalled": {"warmup": 0.93}, "collapsed": False}, []),
        ({"report_every": 10}, {"stalled": {"warmup": 0.97}, "collapsed": False}, ["stalled"]),
        ({"steps": 60, "report_every": 60}, {}, ["collapsed", "stalled"]),
        ({"steps": 60, "report_every": 20}, {}, []),
        ({"steps": 70, "report_every": 20}, {"collapsed": {"patience": 4}, "stalled": False}, []),
        (
            {"steps": 10**8, "report_every": 1},
            {"stalled": {"patience": 10**9}},
            ["1,000,000,000 re"],
        ),
    ],
)
def test_rules_that_can_end_no_trial_are_told(budget, health, words):
    told = silent(config(health=health, budget={"steps": 1000, "report_every": 100} | budget))
    assert len(told) == len(words)
    assert all(word in line for word, line in zip(words, told, strict=True))


@pytest.mark.parametrize("patience", [1, 2, 5, 9, 10, 11])
@pytest.mark.parametrize("warmup", [0.0, 0.3, 0.95, 1.0])
def test_what_is_told_of_them_is_so(patience, warmup):
    """A generator that has never heard its noise, beside a discriminator that is sure of all."""
    rule = {"patience": patience, "warmup": warmup}
    ill = {"diversity": [0.0] * 10, "d_doubt": 0.0, "fd_classifier": 20.0}
    for name, other in (("collapsed", "stalled"), ("stalled", "collapsed")):
        asked = config(health={name: rule, other: False})
        ended = judge(asked, curve(**ill)) is not None
        assert ended == (not silent(asked)), name
