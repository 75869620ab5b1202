"""What a sampler is shown of a long search."""

import itertools
import random

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.samplers import TPESampler
from optuna.samplers._tpe.sampler import _split_trials, default_gamma
from optuna.search_space.group_decomposed import _GroupDecomposedSearchSpace
from optuna.study import StudyDirection
from optuna.trial import TrialState, create_trial

from gansearch.search import SAMPLERS
from gansearch.search.history import BEST, History

RATE = FloatDistribution(1e-5, 1e-1, log=True)
WEIGHT = FloatDistribution(0.1, 100, log=True)
LOSS = CategoricalDistribution(["hinge", "wasserstein"])


def some_trial(number):
    """A trial of a space with a conditional axis; in ten: six completed, three pruned, one failed."""
    chance = random.Random(number)
    distributions = {"rate": RATE, "loss": LOSS}
    params = {"rate": 10 ** chance.uniform(-5, -1), "loss": chance.choice(LOSS.choices)}
    if params["loss"] == "wasserstein":
        distributions["weight"], params["weight"] = WEIGHT, 10 ** chance.uniform(-1, 2)
    curve = {step: chance.random() for step in range(10, 10 * chance.randint(2, 5), 10)}
    kind = number % 10
    return create_trial(
        state=TrialState.COMPLETE if kind < 6 else TrialState.PRUNED,
        value=chance.random() if kind < 6 else None,
        params=params,
        distributions=distributions,
        intermediate_values=curve,
        system_attrs={"constraints:healthy": chance.random() + 1} if kind == 9 else {},
    )


def make_study(count, limit, direction="minimize", kinds=some_trial):
    history = History(StudyDirection[direction.upper()], limit)
    study = optuna.create_study(storage=history, direction=direction)
    study.add_trials([kinds(number) for number in range(count)])
    return study


def shown(study):
    return [trial.number for trial in study.get_trials(deepcopy=False)]


def test_a_short_search_is_shown_whole():
    assert shown(make_study(300, 300)) == list(range(300))
    assert shown(make_study(900, None)) == list(range(900))


@pytest.mark.parametrize("direction", ["minimize", "maximize"])
def test_tpe_takes_the_same_trials_as_good_ones(direction):
    whole, part = make_study(2000, None, direction), make_study(2000, 300, direction)
    assert len(shown(part)) == 300
    below, _ = _split_trials(whole, whole.get_trials(deepcopy=False), default_gamma(2000))
    of_part, _ = _split_trials(part, part.get_trials(deepcopy=False), default_gamma(300))
    assert [t.number for t in of_part] == [t.number for t in below]
    assert len(below) == BEST


def test_the_order_in_which_tpe_ranks_trials_is_kept():
    few = [n for n in range(700) if n % 10 >= 6]  # none completed: pruned ones and failed ones count

    def kinds(number):
        return some_trial(few[number])

    whole, part = make_study(280, None, kinds=kinds), make_study(280, 250, kinds=kinds)
    below, _ = _split_trials(whole, whole.get_trials(deepcopy=False), BEST)
    assert {t.number for t in below} <= set(shown(part))

    def failed(number):
        return some_trial(10 * number + 9)

    whole, part = make_study(280, None, kinds=failed), make_study(280, 250, kinds=failed)
    below, _ = _split_trials(whole, whole.get_trials(deepcopy=False), BEST)
    assert {t.number for t in below} <= set(shown(part))


def test_the_others_are_spread_evenly():
    numbers = shown(make_study(3000, 300))
    gaps = [b - a for a, b in itertools.pairwise(numbers)]
    assert max(gaps) <= 2 * 3000 / (300 - BEST) + 2
    assert numbers[-1] == 2999


def test_running_trials_are_shown_and_errors_are_not():
    study = make_study(400, 300)
    running = [study.ask().number for _ in range(5)]
    assert shown(study)[-5:] == running
    study.tell(running[0], 0.5)
    study.tell(running[1], state=TrialState.FAIL)
    assert shown(study)[-4:] == [running[0], *running[2:]]
    completed = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    assert {trial.state for trial in completed} == {TrialState.COMPLETE}


def test_what_is_shown_does_not_depend_on_when_it_became_known():
    bit_by_bit, resumed = make_study(0, 300), make_study(0, 300)
    asked = [bit_by_bit.ask() for _ in range(400)]
    values = {n: some_trial(n).value or 2.0 + n for n in range(400)}
    random.Random(0).shuffle(asked)
    for trial in asked:
        bit_by_bit.tell(trial, values[trial.number])
    resumed.add_trials(create_trial(value=values[n]) for n in range(400))
    assert len(shown(resumed)) == 300
    assert shown(bit_by_bit) == shown(resumed)


def test_draws_of_one_fit_are_those_of_optuna_s_sampler():
    study = make_study(400, 300)
    trial = study.get_trials(deepcopy=False)[-1]
    ours = SAMPLERS.build("tpe", {}, 7, True)
    with pytest.warns(optuna.exceptions.ExperimentalWarning):
        theirs = TPESampler(seed=7, multivariate=True, group=True, constant_liar=True)
    draws = []
    for sampler in (ours, theirs):
        fresh = study._storage.get_trial(study.ask()._trial_id)
        space = sampler.infer_relative_search_space(study, trial)
        draws.append([sampler.sample_relative(study, fresh, space) for _ in range(5)])
        study.tell(fresh.number, state=TrialState.FAIL)
    assert draws[0] == draws[1]
    assert len({str(draw) for draw in draws[0]}) == 5


def test_the_groups_of_axes_are_those_of_optuna_s_sampler():
    study = make_study(400, 300)
    ours = SAMPLERS.build("tpe", {}, 7, True)._group_decomposed_search_space.calculate(study)
    theirs = _GroupDecomposedSearchSpace(include_pruned=True).calculate(study)
    assert ours.search_spaces == theirs.search_spaces
    assert len(ours.search_spaces) == 2


def test_what_is_shown_is_as_it_is_now():
    study = make_study(400, 300)
    first, second = study.ask(), study.ask()
    assert shown(study)[-2:] == [first.number, second.number]
    study._storage.set_trial_param(first._trial_id, "rate", 0.01, RATE)
    study._storage.set_trial_intermediate_value(second._trial_id, 10, 0.5)
    last = study.get_trials(deepcopy=False)[-2:]
    assert [t.params for t in last] == [{"rate": 0.01}, {}]
    assert [t.intermediate_values for t in last] == [{}, {10: 0.5}]


@pytest.mark.parametrize("limit", [None, 300])
@pytest.mark.parametrize("direction", ["minimize", "maximize"])
def test_who_asks_for_complete_trials_only_is_shown_pruned_ones_as_complete(limit, direction):
    """Those without a value of their own are as bad as the worst."""

    def trial(number):
        state = TrialState.COMPLETE if number < 2 else TrialState.PRUNED
        value = [3.0, 5.0, 4.0, None, None][number]
        curve = {10: 9.0, 20: 7.0} if number == 3 else {}
        attributes = {"constraints:healthy": 1.0} if number == 4 else {}
        return create_trial(
            state=state, value=value, intermediate_values=curve, system_attrs=attributes
        )

    study = make_study(5, limit, direction, trial)
    before = study.get_trials()
    complete = study.get_trials(deepcopy=False, states=[TrialState.COMPLETE])
    worst = 7.0 if direction == "minimize" else 3.0
    assert [t.value for t in complete] == [3.0, 5.0, 4.0, 7.0, worst]
    assert {t.state for t in complete} == {TrialState.COMPLETE}
    assert not any(t.constraints for t in complete)
    assert study.get_trials() == before  # and those are what they were
    both = study.get_trials(states=[TrialState.COMPLETE, TrialState.PRUNED])
    assert [t.state for t in both] == [t.state for t in before]


@pytest.mark.parametrize("limit", [None, 300])
def test_what_ended_in_an_error_of_its_own_is_shown_as_complete_and_as_bad_as_the_worst(limit):
    """To who asks for complete trials only; whatever it had reached, and not where it was blameless."""

    def trial(number):
        if number < 2:
            return create_trial(state=TrialState.COMPLETE, value=[3.0, 5.0][number])
        attributes = {"blameless": True} if number == 3 else {}
        return create_trial(state=TrialState.FAIL, intermediate_values={10: 1.0}, user_attrs=attributes)

    study = make_study(4, limit, "minimize", trial)
    before = study.get_trials()
    complete = study.get_trials(deepcopy=False, states=[TrialState.COMPLETE])
    assert [(t.number, t.value) for t in complete] == [(0, 3.0), (1, 5.0), (2, 5.0)]
    assert {t.state for t in complete} == {TrialState.COMPLETE}
    assert study.get_trials() == before
    assert len(study.get_trials(states=[TrialState.COMPLETE, TrialState.PRUNED])) == 2


def test_of_many_errors_the_newest_are_shown_as_complete():
    erred = create_trial(state=TrialState.FAIL)
    study = make_study(700, 300, "minimize", lambda n: create_trial(value=float(n)) if n % 2 else erred)
    complete = study.get_trials(deepcopy=False, states=[TrialState.COMPLETE])
    assert [t.number for t in complete if t.value == 699.0] == [*range(650, 700, 2), 699]


def test_what_was_pruned_without_any_value_known_is_not_shown_as_complete():
    study = make_study(3, None, kinds=lambda _: create_trial(state=TrialState.PRUNED))
    assert study.get_trials(states=[TrialState.COMPLETE]) == []


@pytest.mark.parametrize("kind", ["pruned", "failed", "erred"])
def test_a_gaussian_process_does_not_propose_a_pruned_trial_again(kind):
    """As Optuna's does, to which a pruned trial is none, nor one that failed."""
    study = make_study(0, 300)
    space = {"x": FloatDistribution(0, 1), "y": FloatDistribution(0, 1)}
    points = []
    for number in range(15):
        study.sampler = SAMPLERS.build("gp", {}, number, False)
        trial = study.ask(space)
        x, y = trial.params["x"], trial.params["y"]
        if number < 11:
            study.tell(trial, (x - 0.3) ** 2 + (y - 0.6) ** 2)
            continue
        points.append((round(x, 3), round(y, 3)))
        if kind == "pruned":
            trial.report(1.0, 1)
        study.tell(trial, state=TrialState.FAIL if kind == "erred" else TrialState.PRUNED)
    assert len(set(points)) == len(points)
