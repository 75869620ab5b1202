"""No secret is written anywhere: not by a study that meets several, not in a message, not in a file."""

from __future__ import annotations

import ast
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import gansearch
from gansearch import api, cli
from gansearch.errors import InvalidInput, UserError
from gansearch.masking import first_line, kind_and_line, last_line, shows_password, without_password
from gansearch.study.document import parse_document
from gansearch.tracking import default_store
from gansearch.tracking.client import one_line
from gansearch.tracking.server import ui

TOKEN = "s3same-0pen"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("at http://me:hunter2@host:5000/x: gone", "at http://host:5000/x: gone"),
        ("postgresql+psycopg://me:hunter@2@db/a", "postgresql+psycopg://db/a"),
        (
            "at postgresql://db/a?user=me&password=hunter2 now",
            "at postgresql://db/a?user=me&password=*** now",
        ),
        ("https://bucket/x?sig=hunter2&page=2", "https://bucket/x?sig=***&page=2"),
        ("host=db password=hunter2 user=me", "host=db password=*** user=me"),
        (f"the server said: {TOKEN!r} is wrong", "the server said: '***' is wrong"),
        ('{"a":"http://x","mail":"me@y"}', '{"a":"http://x","mail":"me@y"}'),
        ("step 3 // 2, token=3, true and 1", "step 3 // 2, token=3, true and 1"),
    ],
)
def test_messages_are_told_without_secrets(monkeypatch, text, shown):
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", TOKEN)
    monkeypatch.setenv("ANOTHER_TOKEN", "1")  # too short for one
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    assert without_password(text) == shown


def test_of_an_error_a_line_is_told_without_secrets(monkeypatch):
    monkeypatch.setenv("SOME_TOKEN", "precious")
    error = ValueError("no precious entry\n  ...\nprecious s3://me:pw@host\n")
    assert first_line(error) == "no *** entry"
    assert last_line(error) == "*** s3://host"
    assert kind_and_line(error) == "ValueError: no *** entry"
    assert first_line(KeyError()) == last_line(KeyError()) == kind_and_line(KeyError()) == "KeyError"


def test_what_is_cut_shows_no_half_of_a_secret(monkeypatch):
    monkeypatch.setenv("SOME_TOKEN", "precious" * 10)
    assert one_line(ValueError("." * 280 + "precious" * 10)) == "." * 280 + "***"


@pytest.mark.parametrize(
    ("text", "shows"),
    [
        ("postgresql://me:hunter2@db/optuna", True),
        ("s3://key:hunter2@bucket/runs", True),
        ("https://host/x?api_key=hunter2", True),
        ("postgresql://me@db/optuna", False),  # asks elsewhere for the password
        ("http://host:5000/#/experiments/1", False),
        ("my_losses:Tempered", False),
    ],
)
def test_what_shows_a_password(text, shows):
    assert shows_password(text) is shows


STUDY = """\
question: {question}
data: digits
generator: {{name: "leaky:Leaky", kind: {{choice: [good, prints, raises]}}}}
discriminator: {{name: mlp, depth: 1, width: 16}}
batch_size: 16
budget: {{steps: 4, report_every: 2}}
evaluation: {{samples: 50, metrics: [diversity]}}
objective: {{metric: diversity, goal: max}}
search: {{sampler: random, trials: 6}}
pruner: none
health: {{collapsed: false, stalled: false}}
"""

LEAKY = """
import os, sys
import torch
from torch import nn

URL = "http://me:hunter2@weights.example/x"

class Leaky(nn.Module):
    def __init__(self, image_shape, latent_size, *, kind: str = "good"):
        super().__init__()
        self.shape, self.kind = image_shape, kind
        self.linear = nn.Linear(latent_size, torch.Size(image_shape).numel())

    def forward(self, latents):
        if self.kind == "prints" and self.training:
            print("from", URL, "by", os.environ["MLFLOW_TRACKING_PASSWORD"], file=sys.stderr)
        if self.kind == "raises" and self.training and self.linear.weight.device.type != "meta":
            raise OSError(f"cannot get {URL} with {os.environ['MLFLOW_TRACKING_PASSWORD']}")
        return self.linear(latents).tanh().view(-1, *self.shape)
"""


class TestStudyFiles:
    @pytest.fixture(autouse=True)
    def here(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)

    @pytest.mark.parametrize(
        ("line", "place"),
        [
            ("question: see http://me:hunter2@host", "line 1, question"),
            ("data: {name: image-folder, path: 's3://key:hunter2@bucket'}", "line 1, data.path"),
            ("loss: {name: 'mine:Loss', api_key: hunter2}", "line 1, loss.api_key"),
            (
                "loss: {choice: [hinge, {name: 'mine:Loss', password: hunter2}]}",
                "loss.choice[1].password",
            ),
        ],
    )
    def test_a_password_in_one_is_refused_with_its_place(self, line, place):
        Path("study.yaml").write_text(line + "\n")
        with pytest.raises(InvalidInput) as told:
            gansearch.load_study("study.yaml")
        assert f"{place}: looks like a password" in str(told.value)
        assert "environment variable" in str(told.value)
        assert "hunter2" not in str(told.value)

    def test_in_an_override_too(self):
        Path("study.yaml").write_text("data: digits\n")
        with pytest.raises(InvalidInput, match="--set question: looks like a password"):
            gansearch.load_study("study.yaml", overrides={"question": "http://me:hunter2@host"})

    def test_what_studies_usually_hold_is_none(self):
        for path in (Path(__file__).parents[1] / "studies").glob("*.yaml"):
            assert parse_document(path.read_text(), str(path)).secrets() == []

    def test_a_password_on_the_command_line_is_refused(self, monkeypatch):
        for option, variable in (("storage", "GANSEARCH_STORAGE"), ("tracking", "MLFLOW_TRACKING_URI")):
            monkeypatch.setattr(
                sys, "argv", ["gansearch", "run", "x.yaml", f"--{option}=a://b:hunter2@c"]
            )
            with pytest.raises(UserError, match=f"--{option} would show .* set {variable} instead"):
                cli.app()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def secretive(tmp_path, monkeypatch):
    """A folder with a study, in an environment of secrets, whose MLflow server is not there yet."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    Path("leaky.py").write_text(LEAKY)
    Path("study.yaml").write_text(STUDY.format(question="Does it keep secrets?"))
    port = free_port()
    database = tmp_path / "team.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://me:hunter2@127.0.0.1:{port}")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", TOKEN)
    monkeypatch.setenv("GANSEARCH_STORAGE", f"sqlite:///{database}?password=hunter2")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    yield port
    sys.modules.pop("leaky", None)


def leaks(text: str | bytes) -> list[str]:
    raw = text if isinstance(text, bytes) else text.encode()
    return [secret for secret in ("hunter2", TOKEN) if secret.encode() in raw]


@pytest.mark.slow  # half a minute
@pytest.mark.timeout(900)
def test_a_study_that_meets_secrets_writes_none(secretive, tmp_path, capfd):
    store = default_store(tmp_path / "team")
    (tmp_path / "team").mkdir()
    servers = []
    late = threading.Thread(target=lambda: servers.append(ui(*store, port=secretive)))
    late.start()  # while the study is on its way: its first visits to MLflow fail
    try:
        done = subprocess.run(
            [sys.executable, "-m", "gansearch", "run", "study.yaml", "--name", "s"],
            env=os.environ | {"RAY_worker_niceness": "0"},
            capture_output=True,
            text=True,
            check=False,
            timeout=240,
        )
        assert done.returncode == 0, done.stderr
        late.join()
        table = gansearch.trials("s")
        failed = table[table["outcome"] == "failed"]
        assert set(failed["reason"]) == {"OSError: cannot get http://weights.example/x with ***"}
        printed = table.index[table["param.generator.kind"] == "prints"][0]
        log = api.trial_log("s", int(printed))
        assert "from http://weights.example/x by ***" in log
        assert "OSError: cannot get" in api.trial_log("s", int(failed.index[0]))
        html = gansearch.report("s").html
        gansearch.export("s", "best", top=2)
        with gansearch.ui("s") as view:
            assert view.server == f"http://127.0.0.1:{secretive}"
        assert gansearch.sync("s") == 0
        status = gansearch.status("s")
    finally:
        late.join()
        for server in servers:
            server.stop()
    assert html.is_file()
    assert len(list((tmp_path / "team").rglob("*"))) > 10, "MLflow has artifacts"
    # The user's module says a password itself; its copy that is kept with the study does, too.
    files = [path for path in tmp_path.rglob("*") if path.is_file() and not path.match("*leaky*.py*")]
    assert {path: found for path in files if (found := leaks(path.read_bytes()))} == {}
    seen = capfd.readouterr()
    assert leaks(done.stdout + done.stderr + str(status) + seen.out + seen.err) == []


def test_no_file_of_weights_is_read_with_the_code_in_it():
    """Ruff holds the rest: no pickle, no eval, no YAML of objects, no shell."""
    found = []
    for path in Path(gansearch.__file__).parent.rglob("*.py"):
        for call in ast.walk(ast.parse(path.read_text())):
            if isinstance(call, ast.Call) and ast.unparse(call.func) in ("torch.load", "np.load"):
                found.append((path.name, {k.arg: ast.unparse(k.value) for k in call.keywords}))
    files = {name for name, _ in found}
    weights = {"checkpoint.py", "export_folder.py", "inception.py", "optimizers.py"}
    assert files == weights | {"array_file.py"}
    safe = {"weights_only": "True"}, {"allow_pickle": "False"}
    assert all(any(each.items() <= options.items() for each in safe) for _, options in found)
