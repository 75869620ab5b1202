"""`gansearch parts`: what it tells of parts and of the study file's keys is what the code says."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest
from typer.main import get_command

import gansearch
from gansearch import cli, testing
from gansearch.catalogue import pages
from gansearch.catalogue.commands import commands_page
from gansearch.catalogue.docstrings import Docstring
from gansearch.catalogue.entries import KINDS, part, parts, study_keys
from gansearch.errors import UserError
from gansearch.study.config import TrialConfig, flatten
from gansearch.study.notation import _PARSERS
from gansearch.study.plan import Plan, Stability
from gansearch.training.blame import PARTS

MODULE = '''
from typing import Annotated, Literal, Protocol
from pydantic import Field


class Anything(Protocol):
    """Has no JSON schema."""

class Tempered:
    """Non-saturating, with a temperature.

    Nobody and Someone 2031 (arXiv 3101.01234) have it.

    Args:
        temperature: of the logits; None: as they come,
            unchanged.
        kind: k; the plain loss has none.

    Raises:
        ValueError: never.
    """

    decision = 0.25

    def __init__(self, *, temperature: Annotated[float, Field(gt=0, le=2e3)] | None = 1e-5,
                 kind: Literal["a", "b", "c"]): ...

class Odd:
    """Options that no schema knows."""

    def __init__(self, *, thing: type[Anything] = Anything, untyped=3): ...
'''


def test_the_reference_tells_all_that_may_stand_in_a_value_s_place():
    for kind in (*_PARSERS, "default"):
        assert f"{kind}: " in pages.STUDY_INTRODUCTION


def test_an_overview_has_a_gap_beside_each_name():
    text = pages.text()
    for kind in KINDS:
        assert [each.name for each in parts(kind) if f"\n  {each.name} " not in text] == []


def test_the_keys_of_what_a_list_holds_are_told_though_there_may_be_none():
    keys = {option.name for chapter in study_keys() for option in chapter.options}
    assert {"search.start.config", "search.start.top", "search.learn_from.anyway"} <= keys


@pytest.fixture
def own(tmp_path, monkeypatch) -> str:
    (tmp_path / "catalogued.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(tmp_path))
    return "catalogued"


def test_every_part_says_what_it_is_and_what_each_option_means():
    for kind in KINDS:
        entries = parts(kind)
        assert entries, kind
        for entry in entries:
            assert len(entry.summary) > 10, f"{kind} {entry.name} says nothing"
            for option in entry.options:
                where = f"{kind} {entry.name}.{option.name}"
                assert option.meaning, f"{where}: say in the docstring what it means"
                assert option.takes != "anything", f"{where}: annotate it"


def test_every_loss_and_penalty_names_its_paper():
    for kind in ("loss", "penalty"):
        for entry in parts(kind):
            assert any("arXiv" in source for source in entry.sources), f"{kind} {entry.name}"


def test_every_kind_that_a_configuration_names_is_described():
    described = {kind.where for kind in KINDS.values()} | {"optimizer.generator"}
    described |= {"optimizer.discriminator", "search.sampler", "evaluation.metrics"}
    for path in PARTS:
        assert ".".join(path) in described


def test_the_conformance_tests_that_it_names_exist():
    named = [kind.check for kind in KINDS.values() if kind.check]
    assert len(named) >= 5
    for name in named:
        assert callable(getattr(testing, name))
    besides = [kind.besides for kind in KINDS.values() if kind.besides]
    untold = {name for name in vars(testing) if name.startswith("check_")} - {*named, *besides}
    assert not untold, "a kind of part has a check that its page does not name"


def test_a_part_of_ones_own_is_described_alike(own):
    entry = part("loss", f"{own}:Tempered")
    assert entry.summary == "Non-saturating, with a temperature"
    assert entry.sources == ("Nobody and Someone 2031 (arXiv 3101.01234)",)
    assert entry.facts == ("real above a logit of 0.25",)
    temperature, kind = entry.options
    assert (temperature.takes, temperature.default) == ("number in (0, 2000] or null", "1e-5")
    assert temperature.meaning == "Of the logits; null: as they come, unchanged."
    assert (kind.takes, kind.default) == ("`a`, `b` or `c`", "required")
    assert kind.meaning == "k; the plain loss has none."  # as it stands in a formula
    assert "temperature: number in (0, 2000] or null; default 1e-5" in gansearch.parts(
        "loss", f"{own}:Tempered"
    )


def test_options_without_a_schema_are_still_listed(own):
    options = part("loss", f"{own}:Odd").options
    assert [option.name for option in options] == ["thing", "untyped"]
    assert options[1].default == "3"


def test_what_has_no_code_in_python_is_described_too():
    assert part("loss", "os:system").description.startswith("Execute the command in a subshell")


def test_every_key_of_a_study_file_is_there_with_default_and_meaning():
    options = {option.name: option for chapter in study_keys() for option in chapter.options}
    trial, plan = TrialConfig(), Plan(stability=Stability())
    wanted = flatten(trial.plain()) | flatten(plan.model_dump(mode="json", exclude={"published"}))
    for key, value in wanted.items():
        if key == "seed":  # each trial gets its own
            continue
        # An optimizer is a part: its options are the part's, not the file's.
        option = options.get(key) or options[key.removesuffix(".name")]
        assert option.meaning, f"{key}: say under Attributes: what it means"
        if isinstance(value, bool):
            assert option.default == ("true" if value else "false"), key
        elif isinstance(value, int | float):
            assert float(option.default) == value, key
    assert options["health.diverged.loss"].default == "1e6"
    assert options["generator.name"].default == "dcgan"
    assert options["ema"].takes == "number in [0, 1) or null"
    assert "published.values.LABEL.sd" in options


def test_keys_that_may_be_axes_are_marked():
    marked = {chapter.key for chapter in study_keys() if chapter.axes}
    assert {"loss", "optimizer", "ema"} <= marked
    assert not marked & {"budget", "data", "search", "health", "resources"}


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (("los",), "no kind of part 'los' (did you mean 'loss'?)"),
        (("loss", "hing"), "unknown loss 'hing' (did you mean 'hinge'?)"),
        (("health", "stale"), "no health rule 'stale' (did you mean 'stalled'?)"),
        (("study", "budget.step"), "no key 'budget.step' (did you mean 'budget.steps'?)"),
        (("loss", "no.such:Thing"), "cannot import the loss 'no.such:Thing'"),
    ],
)
def test_what_is_not_there_is_said_with_the_nearest(asked, message):
    for describe in (pages.text, pages.markdown):
        with pytest.raises(UserError) as caught:
            describe(*asked)
        assert message in str(caught.value)


def test_a_page_is_as_narrow_as_one_asks():
    whole, section, key = (pages.text("study", name) for name in (None, "health", "health.stalled"))
    assert len(whole) > len(section) > len(key)
    assert "health.collapsed" in section
    assert "health.collapsed" not in key
    assert pages.text("loss", "hinge") in pages.text("loss")
    assert pages.markdown("penalty") in pages.markdown()


def test_a_docstring_is_taken_apart():
    def thing(*, a: int, b: int, c: Literal["x"]) -> None:
        """One thing (Li and Wu 2019). Not two.

        Args:
            a, b: two
                lines.
            c: see `d: e`.

        Returns:
            z: nothing.
        """

    doc = Docstring.of(thing)
    assert doc.description == "One thing (Li and Wu 2019). Not two."
    assert doc.sources == ("Li and Wu 2019",)
    assert doc.entries == {"a": "two lines.", "b": "two lines.", "c": "see `d: e`."}


def test_every_command_and_option_is_on_the_page_of_commands():
    group = get_command(cli.app)
    page = commands_page(group)
    for command in group.commands.values():
        section = page.partition(f"\n## {command.name}\n")[2].partition("\n## ")[0]
        assert section, command.name
        for option in command.params:
            if not getattr(option, "hidden", False) and option.param_type_name == "option":
                assert f"`{option.opts[0]}" in section, (command.name, option.opts)
    assert "| `--concurrency N` |" in page
    assert "| `--data PATH` | Read data sets from this folder. Environment: `GANSEARCH_DATA`. |" in page
    assert "--seen-at" not in page, "is hidden"


def test_the_pages_are_what_the_code_says():
    """Written by `make docs`."""
    from docs.generate import PAGES, REFERENCE

    for name, page in PAGES.items():
        assert Path(REFERENCE / name).read_text() == page(), f"{name} is out of date: run `make docs`"
