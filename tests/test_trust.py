"""A model of a user's own parts, somewhere else: their code goes along, and runs only when it may."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest
import torch
from optuna.distributions import FloatDistribution
from safetensors.torch import load_file

import gansearch
from gansearch.errors import UserError
from gansearch.journal.directory import StudyDirectory
from gansearch.journal.journal import Journal
from gansearch.modules import keep
from gansearch.study import registry
from gansearch.training import checkpoint
from gansearch.training.prepare import LocalPaths, prepare
from gansearch.training.trainer import Trainer
from gansearch.training.validation import load_config

CODE = """
from pathlib import Path
import torch
from torch import nn
Path(__file__).with_name("was-run").touch()

class Travelling(nn.Module):
    def __init__(self, shape, latent_size):
        super().__init__()
        self.shape = shape
        self.layer = nn.Linear(latent_size, torch.Size(shape).numel())
    def forward(self, latents):
        return self.layer(latents).tanh().view(-1, *self.shape)
"""
CONFIG = """\
data: digits
generator: 'travelling:Travelling'
discriminator: {name: mlp, depth: 1, width: 16}
batch_size: 16
latent_size: 8
budget: {steps: 4, report_every: 2}
evaluation: {samples: 50, metrics: [diversity]}
objective: {metric: d_loss, goal: min}
"""


@pytest.fixture
def forget():
    """Make a process that knows nothing of the module: as elsewhere."""

    def forgetting():
        sys.modules.pop("travelling", None)
        registry._load.cache_clear()

    forgetting()
    yield forgetting
    forgetting()


@pytest.fixture
def home(tmp_path):
    folder = tmp_path / "home"
    folder.mkdir()
    (folder / "travelling.py").write_text(CODE)
    (folder / "config.yaml").write_text(CONFIG)
    return folder


@pytest.fixture
def sent(home, tmp_path, forget):
    """A model that was trained at home, where its code is not any more."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(home)
        gansearch.train(home / "config.yaml", tmp_path / "model", device="cpu")
    shutil.move(tmp_path / "model", tmp_path / "elsewhere")
    shutil.rmtree(home)
    forget()
    return tmp_path / "elsewhere"


def test_the_code_goes_along_and_is_not_run_unasked(sent, tmp_path):
    assert {path.name for path in (sent / "modules").iterdir()} == {"travelling.py"}
    for act in (
        lambda: gansearch.sample(sent, tmp_path / "grid.png"),
        lambda: gansearch.train(sent / "config.yaml", tmp_path / "again"),
    ):
        with pytest.raises(UserError, match=r"needs travelling, code of whoever made it.* say --trust"):
            act()
    assert not (sent / "modules" / "was-run").exists()
    assert not (tmp_path / "again").exists()


def test_trusted_it_samples_and_trains_to_the_same_weights_and_goes_on_with_it(sent, tmp_path, forget):
    gansearch.sample(sent, tmp_path / "grid.png", count=4, trust=True)
    assert (sent / "modules" / "was-run").exists()
    assert not [path for path in sys.path if str(sent) in path]
    forget()
    gansearch.train(sent / "config.yaml", tmp_path / "again", trust=True, device="cpu")
    one, two = (load_file(folder / "generator.safetensors") for folder in (sent, tmp_path / "again"))
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert (tmp_path / "again" / "modules" / "travelling.py").read_text() == CODE


def test_what_can_be_imported_needs_no_trust(sent, tmp_path, monkeypatch):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "travelling.py").write_text(CODE)
    monkeypatch.syspath_prepend(tmp_path / "mine")
    gansearch.sample(sent, tmp_path / "grid.png", count=4)
    assert (tmp_path / "mine" / "was-run").exists()
    assert not (sent / "modules" / "was-run").exists()


def test_on_the_command_line(sent, tmp_path):
    def sample(*options):
        command = [sys.executable, "-m", "gansearch", "sample", str(sent), "--out", "g.png", *options]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    refused = sample()
    assert (refused.returncode, "Traceback" in refused.stderr) == (2, False)
    assert "--trust" in refused.stderr
    assert sample("--trust").returncode == 0
    assert (tmp_path / "g.png").is_file()


def test_an_export_has_what_was_kept_with_the_study(home, tmp_path, forget):
    directory = StudyDirectory(tmp_path / "runs" / "s")
    directory.path.mkdir(parents=True)
    directory.study_file.write_text("question: by hand\n")
    facts = {"metric": "d_loss", "goal": "min", "steps": 4, "trials": 1, "digest": "abc"}
    facts |= {"question": "", "study": "question: ''\n", "id": "0", "report_every": 4}
    journal = Journal.create(directory.path, "s", facts)
    keep([home / "travelling.py"], directory.modules)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(home)
        config, data = load_config(home / "config.yaml", tmp_path)
        trainer = Trainer(config, data, prepare(config, data, LocalPaths(tmp_path, tmp_path)))
        journal.begin(0, {"lr": 0.1}, {"lr": FloatDistribution(0, 1)}, config.plain())
        while not trainer.finished:
            report = trainer.advance()
            checkpoint.save(directory.trial(0), report.step, trainer.state())
            journal.report(0, report)
        journal.end(journal.trials()[0], report.outcome, "")
    shutil.rmtree(home)
    forget()
    (folder,) = gansearch.export("s", tmp_path / "best", runs_dir=tmp_path / "runs")
    assert (folder / "modules" / "travelling.py").read_text() == CODE
    forget()
    with pytest.raises(UserError, match="--trust"):
        gansearch.sample(folder, tmp_path / "grid.png")
    gansearch.sample(folder, tmp_path / "grid.png", count=4, trust=True)
