"""An axis of so many whole numbers that nothing may look at each of them."""

from __future__ import annotations

import resource
from types import SimpleNamespace

import pytest

from gansearch.search import SAMPLERS
from gansearch.search.contract import Tried
from gansearch.study.axes import Float, Int
from gansearch.study.space import Space

MANY = 10**7
SPACE = Space({"lr": Float(1e-5, 1e-1, log=True), "period": Int(1, MANY)})
OURS = [name for name in SAMPLERS.names if hasattr(SAMPLERS.find(name), "draws")]


@pytest.mark.parametrize("name", OURS)
def test_a_proposal_takes_no_memory_for_each(name):
    past = SimpleNamespace(number=0, seed=0, minimize=True, trials=[])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for number in range(30):
        past.number = number
        point = next(iter(SAMPLERS.find(name)(number, False).draws(past, SPACE)))
        assert isinstance(point["period"], int)
        assert 1 <= point["period"] <= MANY
        worth = abs(point["period"] / MANY - 0.7)
        past.trials.append(Tried(number, point, value=worth, curve={10: worth}))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200 * 1024  # KiB
    assert len({str(trial.point) for trial in past.trials}) == 30
