"""What is something else for a while is afterwards what it was, also where that ends in an error."""

from __future__ import annotations

import os

import pytest

from gansearch.tuning.meanwhile import environment, replaced


def test_variables_say_what_they_said_before(monkeypatch):
    monkeypatch.setenv("SAID", "before")
    monkeypatch.delenv("UNSAID", raising=False)
    with pytest.raises(RuntimeError), environment({"SAID": "now", "UNSAID": "now"}):  # noqa: PT012
        assert (os.environ["SAID"], os.environ["UNSAID"]) == ("now", "now")
        raise RuntimeError
    assert os.environ["SAID"] == "before"
    assert "UNSAID" not in os.environ


class Base:
    def inherited(self):
        return "inherited"


class Owner(Base):
    def method(self):
        return "method"

    @staticmethod
    def static():
        return "static"

    @classmethod
    def of_class(cls):
        return cls


def test_names_stand_for_what_they_stood_for_before():
    before = dict(vars(Owner))
    others = {name: lambda *_: "other" for name in ("method", "static", "of_class")}
    with pytest.raises(RuntimeError), replaced(Owner, **others):  # noqa: PT012
        assert [Owner().method(), Owner().static(), Owner.of_class()] == ["other"] * 3
        raise RuntimeError
    assert dict(vars(Owner)) == before
    assert (Owner().method(), Owner.static(), Owner.of_class()) == ("method", "static", Owner)


def test_a_name_that_is_not_there_is_not_given():
    with replaced(Owner, inherited=lambda _: "other", novel=1):
        assert Owner().inherited() == "inherited"
        assert not hasattr(Owner, "novel")
    assert not {"inherited", "novel"} & vars(Owner).keys()
