"""Why trainings run alone or uncompiled, told by part."""

from __future__ import annotations

import pytest

from gansearch.study.plan import Resources
from gansearch.training.apart import apart

ODD = {"generator": {"name": "mlp", "mixture": 2, "diversity": 0.5}, "loss": {"name": "hinge"}}
ALONE = "generator.diversity"


@pytest.mark.parametrize(
    ("asked", "lines"),
    [
        ({}, []),
        ({"lanes": 8}, [f"runs alone, because of {ALONE} (1 of 2 configurations)"]),
        ({"lanes": "auto"}, [f"runs alone, because of {ALONE} (1 of 2 configurations)"]),
        ({"compile": True}, [f"runs uncompiled, because of {ALONE} (1 of 2 configurations)"]),
    ],
)
def test_each_part_is_named_once(tiny, digits, asked, lines):
    asked = {"lanes": 1} | asked
    assert apart([tiny(), tiny(**ODD)], Resources(**asked), digits.domain) == lines


def test_all_reasons_and_all_configurations(tiny, digits):
    penalised = {"name": "r1", "every": 3}
    budget = {"steps": 12, "report_every": 4}
    both = tiny(loss={"name": "hinge", "penalty": penalised}, budget=budget, generator=ODD["generator"])
    assert apart([both], Resources(lanes=2), digits.domain) == [
        f"runs alone, because of {ALONE}",
        "runs alone, because of loss.penalty.every: the 4 updates from report to report are no "
        "multiple of it",
    ]
