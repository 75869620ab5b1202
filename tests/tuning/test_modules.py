"""The user's own modules: which go along, and how they are found again."""

import importlib
import sys
from pathlib import Path

import pytest

from gansearch.errors import UserError
from gansearch.files import place
from gansearch.modules import differing, existing, keep, kept
from gansearch.tuning.launch import _modules
from gansearch.tuning.where import Where


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A file and a package of the user's, in a folder that is none of Python's."""
    folder = tmp_path / "own"
    (folder / "kept_package" / "deep").mkdir(parents=True)
    (folder / "kept_package" / "__init__.py").write_text("WORTH = 3\n")
    (folder / "kept_package" / "deep" / "data.txt").write_text("three")
    (folder / "kept_package" / ".git").mkdir()
    (folder / "kept_package" / ".git" / "secret").write_text("no")
    (folder / "kept_module.py").write_text("from kept_package import WORTH\n")
    yield folder
    for name in ("kept_module", "kept_package"):
        sys.modules.pop(name, None)


def test_what_is_kept_can_be_imported_by_whoever_goes_on(own, tmp_path):
    there = tmp_path / "study" / "modules"
    keep([own / "kept_package", own / "kept_module.py"], there)
    assert not list(there.rglob(".git"))
    with kept(there) as found:
        assert importlib.import_module("kept_module").WORTH == 3
        (there / "__pycache__").mkdir(exist_ok=True)  # as by the import
    assert [path.name for path in found] == ["kept_module.py", "kept_package"]
    assert str(there) not in sys.path
    with kept(there) as found:
        assert [path.name for path in found] == ["kept_module.py", "kept_package"]
    with kept(tmp_path / "none") as found:
        assert found == []


def test_what_is_said_goes_before_what_is_kept(own, tmp_path, spec):
    there = tmp_path / "modules"
    keep([own / "kept_package", own / "kept_module.py"], there)
    where = Where(modules=(own / "kept_package",))
    found = _modules(spec(), where, sorted(there.iterdir()))
    assert set(found) == {own / "kept_package", there / "kept_module.py"}


def test_what_has_changed_since_is_told(own, tmp_path):
    there = tmp_path / "modules"
    keep([own / "kept_package", own / "kept_module.py"], there)
    found, own_ones = sorted(there.iterdir()), sorted(own.iterdir())
    assert differing(own_ones, found) == differing(own_ones, []) == []
    (own / "kept_package" / "__init__.py").write_text("WORTH = 4\n")
    assert differing(own_ones, found) == [own / "kept_package"]


@pytest.mark.parametrize("module", ["nowhere", "nowhere.py", "notes.txt"])
def test_what_is_no_module_is_refused(module, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("notes.txt").touch()
    with pytest.raises(UserError, match=r"neither the folder of a package nor a \.py file"):
        existing(module)


def test_what_an_object_store_keeps_is_fetched(own, bucket):
    there = place(f"{bucket}/study/modules")
    keep([own / "kept_package", own / "kept_module.py"], there)
    with kept(there) as found:
        assert [path.name for path in found] == ["kept_module.py", "kept_package"]
        assert importlib.import_module("kept_module").WORTH == 3
        assert (found[1] / "deep" / "data.txt").read_text() == "three"
    assert not found[0].exists()
