"""The study files that come with the project are valid, and say what their comments say."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest

from gansearch.study.config import loss_family
from gansearch.study.document import parse_value, read_document
from gansearch.training.validation import read_study

STUDIES = Path(__file__).parents[2] / "studies"


def read(path, root, overrides=()):
    document = read_document(path)
    for key, value in overrides:
        document.override(key, parse_value(value))
    return read_study(document, root)[0]


@pytest.mark.parametrize("path", sorted(STUDIES.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_preset_is_a_study_that_opens_with_its_question(path, fashion_root):
    spec = read(path, fashion_root)
    assert spec.question
    assert path.read_text().startswith("# ")


@pytest.mark.parametrize("path", sorted(STUDIES.glob("*.yaml")), ids=lambda path: path.stem)
def test_a_preset_begins_with_its_default_unless_it_says_what_else(path, fashion_root):
    spec, search = read(path, fashion_root), read_document(path).tree.get("search", {})
    begins = search.get("trials", 1) > 0 and "start" not in search
    assert (spec.notes, [start.name for start in spec.start]) == ((), ["default"] * begins)


@pytest.fixture(scope="module")
def lucic(fashion_root):
    return read(STUDIES / "lucic2018.yaml", fashion_root)


def test_lucic_s_ranges_are_those_of_the_paper(lucic):
    axes = {name: str(axis) for name, axis in lucic.space.axes().items() if name != "loss"}
    assert axes == {
        "optimizer.generator.lr": "log [1e-05, 0.01]",
        "optimizer.generator.beta1": "uniform [0, 0.999]",
        "discriminator.norm": "choice [batch, none]",
        "discriminator_steps": "choice [1, 5]",
        "loss.wasserstein#3.penalty.bound": "log [0.001, 1]",
        "loss.wasserstein#4.penalty.weight": "log [0.1, 100]",
        "loss.non-saturating#5.penalty.weight": "log [0.1, 100]",
    }
    for way in lucic.space.each_option():
        sides = lucic.trial(0, way).optimizer
        assert sides.generator == sides.discriminator


def test_lucic_s_published_values_are_of_the_losses_that_it_searches(lucic):
    configs = [lucic.trial(0, way).plain() for way in lucic.space.each_option()]
    assert lucic.plan.published.values.keys() == {loss_family(config) for config in configs}
    families = len(lucic.plan.published.values)
    assert lucic.plan.search.trials == 100 * families
    assert lucic.plan.published.metric == lucic.example().objective.metric == "fid"
    assert (lucic.plan.stability.per, lucic.plan.stability.seeds) == ("loss", 50)
    budget = lucic.example().budget
    assert budget.steps == 4 * budget.report_every
    assert math.isclose(budget.steps * 64 / 50_000, 20, rel_tol=1e-3), "epochs, as their code has them"


def test_lucic_s_comment_gives_overrides_that_are_valid(fashion_root):
    text = (STUDIES / "lucic2018.yaml").read_text()
    small = text[text.index("gansearch run") : text.index("# What is theirs")]
    overrides = re.findall(r"--set '?([\w.]+)=([^'\s]+)'?", small)
    assert len(overrides) == 9
    spec = read(STUDIES / "lucic2018.yaml", fashion_root, overrides)
    assert spec.example().objective.metric == "fd_classifier"
    assert spec.plan.resources.gpus == 0
    letters = re.findall(
        r"(discriminator_steps|budget\.\w+)=(\d+)", text[text.index("to the letter") :]
    )
    five = dict(letters[1:4])
    assert five.keys() == {"discriminator_steps", "budget.steps", "budget.report_every"}
    read(STUDIES / "lucic2018.yaml", fashion_root, five.items())
