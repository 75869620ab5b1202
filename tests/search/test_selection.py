"""Who is trained again: the search's best, the default, neighbours."""

from __future__ import annotations

from functools import partial

import pytest

from gansearch.data.domain import Images
from gansearch.errors import InvalidInput, UserError
from gansearch.search.selection import (
    Around,
    check_comparable,
    find_centre,
    given_candidate,
    neighbours,
    of_trial,
    select,
)
from gansearch.study.config import ADDED
from gansearch.study.plan import Stability
from gansearch.study.records import Outcome, Report, TrialRecord
from gansearch.study.roster import Roster
from gansearch.training.completion import complete

HINGE = {"loss": "hinge", "generator.depth": 2, "optimizer.generator.lr": 1e-3}
HINGE |= {"optimizer.discriminator.lr": 1e-3}
WASSERSTEIN = HINGE | {"loss": "wasserstein", "loss.wasserstein.penalty.weight": 10.0}


def trial(spec, number, point, value):
    config = spec.trial(number, lambda name, _: point[name]).plain()
    reports = [] if value is None else [Report(10, 100, 1.0, {"fd_classifier": value}, 0.0)]
    return TrialRecord(number, point, config, Outcome.COMPLETED, reports=reports)


@pytest.fixture
def searched(spec):
    """Two of hinge, two of wasserstein, one repeated, one without a value."""
    asked = spec()
    points = [
        (WASSERSTEIN, 5.0),
        (HINGE, 1.0),
        (HINGE, 2.0),
        (HINGE | {"generator.depth": 1}, 3.0),
        (HINGE | {"generator.depth": 3}, None),
    ]
    return asked, [trial(asked, i, point, value) for i, (point, value) in enumerate(points)]


def labels(candidates):
    return [candidate.label for candidate in candidates]


def test_the_best_of_the_study_each_once_and_the_default(searched):
    asked, records = searched
    choose = partial(select, asked, records, metric="fd_classifier", goal="min")
    assert labels(choose(Stability(top=2))) == ["trial 1", "trial 3", "default"]
    assert labels(choose(Stability(top=9, default=False))) == ["trial 1", "trial 3", "trial 0"]
    assert labels(choose(Stability(top=1, per="loss", default=False))) == ["trial 1", "trial 0"]
    assert choose(Stability(top=1))[0].config == {
        key: value for key, value in records[1].config.items() if key != "seed"
    }


def test_the_default_has_every_axis_at_its_default(searched):
    asked, records = searched
    (default,) = select(asked, records, Stability(top=0), "fd_classifier", "min")
    assert default.config["optimizer"]["generator"]["lr"] == 2e-4
    assert default.config["loss"]["name"] == "non-saturating"
    assert default.config["generator"]["width"] == 16, "what is no axis is the study's"
    assert default.config["batch_size"] == 16


def test_neighbours_differ_by_one_number_of_the_search(searched):
    asked, records = searched
    shape = partial(complete, domain=Images((1, 8, 8)))
    found, left_out = neighbours(asked, of_trial(records[0]), Around(0.5), shape)
    assert not left_out
    by_axis = {}
    for neighbour in found:
        by_axis.setdefault(neighbour.axis, []).append(neighbour.factor)
        assert neighbour.of == "trial 0"
        assert neighbour.label == f"trial 0: {neighbour.axis} x {neighbour.factor:g}"
    rates = [0.5, 0.75, 1.25, 1.5]
    assert by_axis == {
        "optimizer.generator.lr": rates,
        "optimizer.discriminator.lr": rates,
        "loss.penalty.weight": rates,
        "generator.depth": [0.5, 1.5],  # 2 x 0.75 and 2 x 1.25 are 2 again
    }
    weights = [n.config["loss"]["penalty"]["weight"] for n in found if "weight" in n.axis]
    assert weights == pytest.approx([5.0, 7.5, 12.5, 15.0])


def test_neighbours_of_what_no_search_tried_differ_by_learning_rates_and_numbers_of_the_loss(searched):
    asked, _ = searched
    shape = partial(complete, domain=Images((1, 8, 8)))
    given = given_candidate("mine", asked.trial(0, lambda name, _: WASSERSTEIN[name]))
    found, _ = neighbours(asked, given, Around(0.5), shape)
    rates = {"optimizer.generator.lr", "optimizer.discriminator.lr"}
    assert {n.axis for n in found} == rates | {"loss.penalty.weight"}
    with pytest.raises(UserError, match=r"--axes generator\.name: is no number of 'mine'"):
        neighbours(asked, given, Around(0.5, axes=("generator.name",)), shape)


def test_an_old_trial_has_the_same_neighbours(searched):
    """One of a journal from before configurations had a precision."""
    asked, records = searched
    shape = partial(complete, domain=Images((1, 8, 8)))
    new, _ = neighbours(asked, of_trial(records[0]), Around(0.5), shape)
    for key in ADDED:
        del records[0].config[key]
    old, _ = neighbours(asked, of_trial(records[0]), Around(0.5), shape)
    assert labels(old) == labels(new)
    assert [each.digest for each in old] == [each.digest for each in new]


def test_neighbours_that_cannot_be_built_are_told_and_left_out(searched):
    asked, records = searched
    around = Around(0.9, axes=("optimizer.generator.beta2",))
    shape = partial(complete, domain=Images((1, 8, 8)))
    found, left_out = neighbours(asked, of_trial(records[1]), around, shape)
    assert [n.factor for n in found] == pytest.approx([0.1, 0.55])
    assert len(left_out) == 2
    assert "optimizer.generator.beta2" in left_out[0]


def test_the_centre_is_found_by_label_by_number_or_is_the_best(searched):
    asked, records = searched
    roster = Roster().extended(select(asked, records, Stability(top=1), "fd_classifier", "min"), 2, 0)
    assert find_centre(Around(0.5, of="default"), roster, records, "trial 1").kind == "default"
    assert find_centre(Around(0.5, of="3"), roster, records, "trial 1").trial == 3
    assert find_centre(Around(0.5), roster, records, "trial 1") == roster["trial 1"]
    assert find_centre(Around(0.5), Roster(), records, "2").trial == 2
    with pytest.raises(UserError, match="no trial and no configuration"):
        find_centre(Around(0.5, of="defualt"), roster, records, "")
    with pytest.raises(UserError, match="say one by --of"):
        find_centre(Around(0.5), Roster(), [], "")


def test_what_must_be_the_same_for_all_is(spec):
    one = spec().example()
    other = one.model_copy(update={"budget": one.budget.model_copy(update={"steps": 30})})
    check_comparable({"a": one.model_copy(update={"batch_size": 8})}, one, "the study")
    with pytest.raises(InvalidInput, match=r"a, budget.steps: is 30, and the study has 90"):
        check_comparable({"a": other}, one, "the study")
    data = type(one.data).model_validate({"name": "ring", "modes": 4})
    with pytest.raises(InvalidInput) as caught:
        check_comparable({"a": one.model_copy(update={"data": data})}, one, "the study")
    assert [str(each) for each in caught.value.problems] == [
        "a, data.name: is ring, and the study has digits"
    ], "what options another data set has is no mistake of its own"
