"""A journal with what this version does not know is told in a sentence."""

import optuna
import pytest
from optuna.trial import TrialState

from gansearch.errors import StudyError
from gansearch.journal.encoding import record_of

KNOWN = {"config": {"loss": {"name": "hinge"}, "seed": 0}, "outcome": "pruned"}


@pytest.mark.parametrize(
    "attributes",
    [
        {"outcome": "vanished"},
        {"outcome": 3},
        {"chances": [{"novel": 1}]},
        {"chances": 3},
        {"report:x": {}},
        {"report:20": {"novel": 1}},
        {"report:20": 3},
    ],
)
def test_a_trial_that_this_version_cannot_read_is_told(attributes):
    trial = optuna.trial.create_trial(state=TrialState.PRUNED, user_attrs=KNOWN | attributes)
    with pytest.raises(StudyError, match="in the journal is not as this version writes them"):
        record_of(trial, None)
    record_of(optuna.trial.create_trial(state=TrialState.PRUNED, user_attrs=KNOWN), None)
