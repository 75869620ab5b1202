"""The conformance suite for pruners, samplers, metrics and optimizers: our own pass it, and each broken
one is caught in words.
"""

from __future__ import annotations

import random
import time
from functools import partial

import numpy as np
import pytest
import torch
from optuna.samplers import TPESampler
from torch import optim

from gansearch.metrics import METRICS
from gansearch.metrics.diversity import Diversity
from gansearch.metrics.frechet import ClassifierDistance
from gansearch.metrics.score import ClassifierScore
from gansearch.search import PRUNERS, SAMPLERS
from gansearch.search.halving import Asha
from gansearch.search.hyperband import Hyperband
from gansearch.search.pruners import GO_ON, Decision, Median, Verdict, Wake
from gansearch.study.axes import Choice
from gansearch.study.records import Outcome
from gansearch.testing import check_metric, check_optimizer, check_pruner, check_sampler
from gansearch.training.optimizers import OPTIMIZERS, adam


@pytest.mark.parametrize("name", PRUNERS.names)
def test_our_pruners(name):
    check_pruner(PRUNERS.find(name))


def test_a_pruner_with_options():
    check_pruner(partial(Median, min_steps=20, min_trials=1))
    check_pruner(partial(Asha, reduction_factor=2, min_steps=30))
    check_pruner(partial(Hyperband, second_chances=True))


def test_a_pruner_that_pauses():
    check_pruner(partial(Asha, second_chances=True))


class Muses(Asha):
    def judge(self, trial, report):
        verdict = super().judge(trial, report)
        return GO_ON if random.random() < 0.5 else verdict


class LooksAtTheClock(Asha):
    def judge(self, trial, report):
        super().judge(trial, report)
        why = f"at step {report.step}, {time.perf_counter_ns()}"
        return Verdict(Decision.STOP, why) if report.step > 30 else GO_ON


class Shares(Asha):
    """What it knows is the class's, and so the next study's, too."""

    seen = 0

    def judge(self, trial, report):
        Shares.seen += 1
        stop = Shares.seen % 7 == 0
        return Verdict(Decision.STOP, f"at step {report.step}") if stop else GO_ON


class Silent(Asha):
    def judge(self, trial, report):
        return Verdict(super().judge(trial, report).decision)


class Vague(Asha):
    def judge(self, trial, report):
        verdict = super().judge(trial, report)
        return verdict if verdict is GO_ON else Verdict(verdict.decision, "it is bad")


class Pauses:
    """It cannot say who goes on."""

    def __init__(self, config):
        self.asha = Asha(config, second_chances=True)

    def judge(self, trial, report):
        return self.asha.judge(trial, report)


class Kind(Asha):
    def __init__(self, config):
        super().__init__(config, second_chances=True)


class WakesWhomItLikes(Kind):
    def choose(self, paused, fresh):
        return Wake(10**6, "at step 10")


class WakesWithoutAWord(Kind):
    def choose(self, paused, fresh):
        return Wake(paused[0].number, "")


class Nods(Kind):
    def choose(self, paused, fresh):
        return True


class Counts(Kind):
    """It wakes every other time, as if to be asked were an event."""

    asked = 0

    def choose(self, paused, fresh):
        self.asked += 1
        return super().choose(paused, fresh) if self.asked % 2 else None


class Grows(Kind):
    """To be asked changes its verdicts."""

    patience = 0

    def judge(self, trial, report):
        verdict = super().judge(trial, report)
        return GO_ON if self.patience > 3 else verdict

    def choose(self, paused, fresh):
        self.patience += 1
        return super().choose(paused, fresh)


class Empties(Kind):
    def choose(self, paused, fresh):
        wake = super().choose(paused, fresh)
        paused.clear()
        return wake


class WakesEvenNumbers(Kind):
    def choose(self, paused, fresh):
        if len(paused) < 3:
            return None
        first = min(paused, key=lambda trial: (trial.number < 1000) == trial.number % 2)
        return Wake(first.number, f"at step {first.step}")


class NeedsTwo(Kind):
    def choose(self, paused, fresh):
        return Wake(paused[1].number, f"at step {paused[1].step}")


class TrustsMetrics(Asha):
    def judge(self, trial, report):
        int(report.metrics["fd_classifier"])
        return GO_ON


class Writes(Asha):
    def judge(self, trial, report):
        verdict = super().judge(trial, report)
        report.metrics["judged"] = 1.0
        return verdict


class Ends(Asha):
    def judge(self, trial, report):
        trial.outcome = Outcome.PRUNED
        return super().judge(trial, report)


class Answers(Asha):
    def judge(self, trial, report):
        return super().judge(trial, report) is GO_ON


class LikesEvenNumbers(Asha):
    def judge(self, trial, report):
        stop = trial.number < 1000 and report.step > 30
        return Verdict(Decision.STOP, f"at step {report.step}") if stop else GO_ON


@pytest.mark.parametrize(
    ("pruner", "message"),
    [
        (Muses, "the same reports must get the same verdicts"),
        (LooksAtTheClock, "the same reports must get the same verdicts"),
        (Shares, "the same reports must get the same verdicts"),
        (Silent, "a reason in words that names the step, not ''"),
        (Vague, "a reason in words that names the step, not 'it is bad'"),
        (Pauses, "answers with pause, and has no `choose`"),
        (WakesWhomItLikes, "must name one that is paused, not 1000000"),
        (WakesWithoutAWord, "to go on needs a reason in words that names the step, not ''"),
        (Nods, "must return a Wake or None, not True"),
        (Counts, "choose must give the same answer when it is asked again"),
        (Grows, "choose must change nothing in the pruner"),
        (Empties, "choose must not change what it is shown"),
        (WakesEvenNumbers, "a trial's number is but its name"),
        (NeedsTwo, "choose fails on 1 paused trials: IndexError"),
        (TrustsMetrics, "judge fails on .* at step"),
        (Writes, "must not change the record or the report"),
        (Ends, "must not change the record or the report"),
        (Answers, "must return a Verdict, not True"),
        (LikesEvenNumbers, "a trial's number is but its name"),
    ],
)
def test_broken_pruners(pruner, message):
    with pytest.raises(AssertionError, match=message):
        check_pruner(pruner)


@pytest.mark.parametrize("name", SAMPLERS.names)
def test_our_samplers(name):
    sizes = (0, 1, 12) if name == "gp" else (0, 1, 12, 40)  # it takes a second for a proposal
    check_sampler(SAMPLERS.find(name), sizes=sizes)


def test_a_sampler_of_optuna_s():
    check_sampler(lambda seed, conditional: TPESampler(seed=seed, multivariate=True), sizes=(0, 12))


class Uniform:
    """A sampler that knows no Optuna, to be broken below."""

    history = None
    swayed = False

    def __init__(self, seed, conditional):
        self.chance = random.Random(seed)

    def suggest(self, name, axis):
        if isinstance(axis, Choice):
            return self.chance.choice(list(axis.options))
        low, high = axis.ends()
        return (
            self.chance.randint(low, high) if isinstance(low, int) else self.chance.uniform(low, high)
        )

    def draws(self, past, space):
        while True:
            yield space.point(self.suggest)


class Global(Uniform):
    def __init__(self, seed, conditional):
        self.chance = random


class SeedIgnored(Uniform):
    def __init__(self, seed, conditional):
        self.chance = random.Random(0)


class Beyond(Uniform):
    def suggest(self, name, axis):
        value = super().suggest(name, axis)
        return value + 4 if name == "depth" else value


class Forgets(Uniform):
    def draws(self, past, space):
        for point in super().draws(past, space):
            yield {name: value for name, value in point.items() if name != "loss.wasserstein.weight"}


class NeedsValues(Uniform):
    def draws(self, past, space):
        if past.trials:
            min(trial.value for trial in past.trials) + 0.0
        return super().draws(past, space)


class NeedsSome(Uniform):
    def draws(self, past, space):
        past.trials[0]
        return super().draws(past, space)


class Refuses(Uniform):
    def draws(self, past, space):
        return iter(())


class Endless(Uniform):
    history = 0


class Undecided(Uniform):
    swayed = None


@pytest.mark.parametrize(
    ("sampler", "message"),
    [
        (Global, "one seed and one past .* must give the same points"),
        (SeedIgnored, "eight seeds give one and the same point"),
        (Beyond, r"draws fails after 0 trials: NotInSpace: depth: . is not in int \[1, 4\]"),
        (Forgets, "NotInSpace: loss.wasserstein.weight is missing"),
        (NeedsValues, "draws fails after 12 trials: TypeError"),
        (NeedsSome, "draws fails after 0 trials: IndexError"),
        (Refuses, "draws yields no point"),
        (Endless, "history must be None or a whole number above 0, not 0"),
        (Undecided, "swayed must be True or False, not None"),
    ],
)
def test_broken_samplers(sampler, message):
    check_sampler(Uniform, sizes=(0, 12))
    with pytest.raises(AssertionError, match=message):
        check_sampler(sampler)


@pytest.mark.parametrize("name", METRICS.names)
def test_our_metrics(name):
    check_metric(METRICS.find(name))


class InATensor(ClassifierDistance):
    def __call__(self, fake, real):
        return torch.tensor(super().__call__(fake, real))


class OfNumPy(ClassifierDistance):
    def __call__(self, fake, real):
        return np.float64(super().__call__(fake, real))


class Lower(ClassifierDistance):
    goal = "lower"


class Unheard(ClassifierDistance):
    features = "vgg"


class Masks(ClassifierDistance):
    def __call__(self, fake, real):
        return float(np.nan_to_num(super().__call__(fake, real), nan=1e9))


class Noisy(ClassifierDistance):
    def __call__(self, fake, real):
        return super().__call__(fake, real) + float(torch.rand(()))


class UpsideDown(ClassifierDistance):
    def __call__(self, fake, real):
        return -super().__call__(fake, real)


class InPlace(ClassifierDistance):
    def __call__(self, fake, real):
        fake.features.sub_(1).add_(1).abs_()
        return super().__call__(fake, real)


class Dealt(ClassifierScore):
    ordered = False


class NoTensors(Diversity):
    def of_real(self, real):
        return {"variance": float(super().of_real(real)["variance"])}


@pytest.mark.parametrize(
    ("metric", "message"),
    [
        (InATensor, "must return a float, not Tensor"),
        (OfNumPy, "must return a float, not float64"),
        (Lower, "goal must be 'min' or 'max', not 'lower'"),
        (Unheard, "features must be None or one of inception, classifier, .*mixture, not 'vgg'"),
        (Masks, "must give NaN, not 1000000000.0"),
        (Noisy, "the same samples must give the same value"),
        (UpsideDown, "far from the real ones .* must be worse"),
        (InPlace, "must not change the fake activations|the same samples"),
        (Dealt, "another order of the samples"),
        (NoTensors, "of_real: 'variance' must be a tensor"),
    ],
)
def test_broken_metrics(metric, message):
    with pytest.raises(AssertionError, match=message):
        check_metric(metric)


@pytest.mark.parametrize("name", OPTIMIZERS.names)
def test_our_optimizers(name):
    check_optimizer(OPTIMIZERS.find(name))


def forgets_the_last(parameters):
    return adam(list(parameters)[:-1])


def climbs(parameters):
    return optim.SGD(parameters, lr=0.1, maximize=True)


class Forgetful(optim.Adam):
    """Its momentum is no part of its state."""

    def load_state_dict(self, state_dict):
        super().load_state_dict({**state_dict, "state": {}})


class Hides(optim.Adam):
    """Leaves out what is not finite, which is what a stability study measures."""

    def step(self, closure=None):
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    parameter.grad.nan_to_num_()
        return super().step(closure)


class Odd(optim.SGD):
    """A NumPy scalar in its state, which no checkpoint gives back."""

    def state_dict(self):
        return {**super().state_dict(), "rate": np.float64(0.1)}


@pytest.mark.parametrize(
    ("factory", "message"),
    [
        (forgets_the_last, "it must take every parameter"),
        (list, "is no torch.optim.Optimizer"),
        (climbs, "50 steps do not lower a loss"),
        (partial(Forgetful, lr=1e-2), "to the last bit"),
        (Hides, "a gradient of NaN must show"),
        (partial(Odd, lr=1e-2), "cannot be read from a checkpoint"),
    ],
)
def test_broken_optimizers(factory, message):
    with pytest.raises(AssertionError, match=message):
        check_optimizer(factory)
