"""A tracking URI is understood, or refused before anything is trained, and nothing is made for it."""

import pytest

from gansearch.errors import UserError
from gansearch.tracking import OFF, address, default_store, store_of
from gansearch.tracking.address import VARIABLE


@pytest.mark.parametrize(
    "uri",
    [
        "http://127.0.0.1:9",
        "https://me:hunter2@mlflow.internal/path",
        "HTTP://HOST",
        "databricks",
        "databricks://profile",
        "sqlite:///new.db",
        "sqlite:///empty.db",
        "sqlite+pysqlite:///new.db",
        "sqlite:///file:new.db?uri=true",
    ],
)
def test_what_mlflow_can_track_to_is_taken_as_it_is_said(uri, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty.db").touch()
    assert address(uri) == uri
    assert store_of(tmp_path, uri) == (uri, None)
    monkeypatch.setenv(VARIABLE, uri)
    assert address(None) == uri


@pytest.mark.parametrize("word", ["off", "none", "None", " OFF "])
def test_off_and_none_mean_that_nothing_is_tracked(word, tmp_path, monkeypatch):
    assert address(word) == OFF
    assert store_of(tmp_path, word) is None
    monkeypatch.setenv(VARIABLE, word)
    assert store_of(tmp_path) is None, "the environment says it, too"
    assert store_of(tmp_path, "http://host:5000") is not None, "the option comes first"


@pytest.mark.parametrize(
    ("uri", "why"),
    [
        ("sqlite:////proc/nope/deep/x.db", "there is no folder /proc/nope/deep: make it"),
        ("sqlite:///folder", "is a folder, and no file"),
        ("sqlite:///text.db", "is no SQLite file"),
        ("sqlite://x.db", "names no file: say sqlite:////FOLDER/mlflow.db"),
        ("sqlite:///:memory:", "names no file"),
        ("sqlite:", "names no file"),
        ("mlruns", "is no tracking URI: say http://HOST:5000, sqlite:///FILE.db"),
        ("nothing", "is no tracking URI"),
        ("folder", "is a path, and MLflow keeps no runs in plain folders any more"),
        ("./mlruns", "is a path"),
        ("file:///tmp/mlruns", "is a path"),
        ("localhost:5000", "did you mean http://localhost:5000?"),
        ("10.0.0.1:5000/", "did you mean http://10.0.0.1:5000/?"),
        ("http:host", "names no host"),
        ("http://:5000", "names no host"),
        ("http://host:many", "names no host, or no port of one"),
        ("http://[::1", "names no host"),
        ("httpx://host", "is a path"),
        ("postgresql://host:many/db", "is no URL such as postgresql://HOST/DATABASE"),
        ("mysql+mysqldb://host/db", "needs the Python package MySQLdb, which is not installed here"),
        ("postgresql+nonsense://host/db", "is no URL such as"),
    ],
)
def test_what_can_be_none_is_told_with_its_place_and_nothing_is_made(uri, why, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "text.db").write_text("no database of anyone's")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UserError) as said:
        store_of(tmp_path, uri)
    assert str(said.value).startswith(f"--tracking {uri}: ")
    assert why in str(said.value)
    monkeypatch.setenv(VARIABLE, uri)
    with pytest.raises(UserError, match=f"^{VARIABLE} "):
        address(None)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_password_is_not_shown_where_a_uri_is_refused():
    with pytest.raises(UserError) as said:
        address("mysql+mysqldb://me:hunter2@host/db")
    assert "hunter2" not in str(said.value)


def test_what_lies_in_the_place_of_the_default_file_is_told(tmp_path):
    (tmp_path / "mlflow.db").mkdir()
    with pytest.raises(UserError, match=r"mlflow\.db, MLflow's database: is a folder"):
        default_store(tmp_path)
    assert default_store(tmp_path / "not made yet").uri.startswith("sqlite:////")
