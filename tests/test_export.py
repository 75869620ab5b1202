"""Models as files: `train`, `export` and `sample`, with no Ray about."""

from __future__ import annotations

import csv
import json
import os
import pickle
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from optuna.distributions import FloatDistribution
from safetensors.torch import load_file

import gansearch
from gansearch import exporting
from gansearch.data.domain import Points
from gansearch.data.load import load
from gansearch.errors import DataError, Doubt, StudyError, UserError, WeightsError
from gansearch.exporting import export
from gansearch.journal.directory import StudyDirectory
from gansearch.journal.journal import Journal
from gansearch.journal.stored import StoredStudy
from gansearch.study.records import Outcome, Report
from gansearch.training import checkpoint
from gansearch.training.export_folder import read_model, with_real
from gansearch.training.prepare import LocalPaths, prepare
from gansearch.training.trainer import Trainer
from gansearch.training.validation import load_config

CONFIG = """\
data: digits
generator: {name: mlp, depth: 1, width: 16}
discriminator: {name: mlp, depth: 1, width: 16}
batch_size: 16
latent_size: 8
budget: {steps: 900, report_every: 60}
evaluation: {samples: 50, metrics: [diversity]}
objective: {metric: d_loss, goal: min}
seed: 3
"""
FILES = {"config.yaml", "model.json", "generator.safetensors", "discriminator.safetensors"}
FILES |= {"samples.png", "reports.csv"}


@pytest.fixture(scope="session")
def config(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("config") / "config.yaml"
    path.write_text(CONFIG)
    return path


@pytest.fixture(scope="session")
def trained(config, tmp_path_factory) -> Path:
    """A model trained without interruption; not to be changed."""
    folder = tmp_path_factory.mktemp("models") / "whole"
    gansearch.train(config, folder, device="cpu")
    return folder


@pytest.fixture
def copied(trained, tmp_path) -> Path:
    return shutil.copytree(trained, tmp_path / "model")


def curve(folder: Path) -> list[dict[str, str]]:
    """The reports but for how long they took."""
    with (folder / "reports.csv").open() as file:
        return [
            {k: v for k, v in row.items() if k not in ("seconds", "images_per_second")}
            for row in csv.DictReader(file)
        ]


def test_what_training_leaves(trained):
    assert {path.name for path in trained.iterdir()} == FILES | {"checkpoints", "samples"}
    assert len(curve(trained)) == 15
    assert len(list((trained / "samples").iterdir())) == 15
    facts = json.loads((trained / "model.json").read_text())
    best = min(curve(trained), key=lambda row: float(row["d_loss"]))
    assert facts["step"] == int(best["step"])
    assert facts["value"] == float(best["d_loss"])
    assert (facts["outcome"], facts["image_shape"]) == ("completed", [1, 8, 8])
    assert facts["provenance"]["diversity"]["ema"] is True
    assert torch.__version__.startswith(facts["versions"]["torch"])
    kept = checkpoint.steps(trained / "checkpoints")
    assert set(kept) == {900, facts["step"]}
    state = checkpoint.load(checkpoint.path_of(trained / "checkpoints", facts["step"]))
    for name, weight in load_file(trained / "generator.safetensors").items():
        assert torch.equal(weight, state["averaged"][name]), "the averaged weights of the best report"


def test_the_configuration_left_trains_the_same_model_again(trained, tmp_path):
    table = gansearch.train(trained / "config.yaml", tmp_path / "again", device="cpu")
    assert table["step"].tolist() == [60 * (i + 1) for i in range(15)]
    assert same_weights(trained, tmp_path / "again")


def same_weights(one: Path, two: Path) -> bool:
    return all((one / name).read_bytes() == (two / name).read_bytes() for name in WEIGHTS)


WEIGHTS = ("generator.safetensors", "discriminator.safetensors")


def test_a_killed_training_goes_on_to_the_same_weights(config, trained, tmp_path):
    out = tmp_path / "model"
    command = [sys.executable, "-m", "gansearch", "train", str(config), "--out", str(out)]
    with subprocess.Popen(
        [*command, "--device", "cpu"], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    ) as process:
        for line in process.stderr:
            if line.startswith("step 180"):
                process.send_signal(signal.SIGKILL)
                break
    assert process.wait() == -signal.SIGKILL
    assert not (out / "model.json").exists(), "it was to be killed in the middle"
    (out / "checkpoints" / "step-000360.part-1").write_bytes(b"half")
    seen = []
    gansearch.train(config, out, device="cpu", on_report=seen.append)
    assert 180 <= seen[0].step <= 900, "what was trained is not trained again"
    assert same_weights(trained, out)
    assert curve(out) == curve(trained)
    assert {path.name for path in out.iterdir()} == {path.name for path in trained.iterdir()}
    assert not list(out.glob("**/*.part*"))


def test_ctrl_c_of_a_training_says_how_it_goes_on(config, trained, tmp_path):
    command = [sys.executable, "-m", "gansearch", "train", str(config), "--out", str(tmp_path / "m")]
    with subprocess.Popen(
        [*command, "--device", "cpu"], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    ) as process:
        for line in process.stderr:
            if line.startswith("step 120"):
                process.send_signal(signal.SIGINT)
                break
        rest = process.stderr.read().splitlines()
    assert process.returncode == 130
    assert rest[-1] == "stopped; the same command goes on from the last report"
    gansearch.train(config, tmp_path / "m", device="cpu")
    assert same_weights(trained, tmp_path / "m")


def test_of_two_trainings_into_one_folder_at_once_the_second_is_told(config, tmp_path):
    """Each would write its checkpoints among the other's."""
    out = tmp_path / "model"

    def again(report):
        before = sorted(out.rglob("*"))
        with pytest.raises(UserError, match=f"another process is writing into {out}: take another"):
            gansearch.train(config, out, device="cpu")
        assert sorted(out.rglob("*")) == before
        raise EndedHere

    with pytest.raises(EndedHere):
        gansearch.train(config, out, device="cpu", on_report=again)
    assert checkpoint.steps(out / "checkpoints") == [60]


class EndedHere(Exception):
    """Of a training that a test lets go no further."""


def test_a_finished_training_is_left_as_it_is(config, copied, trained):
    seen = []
    before = torch.get_num_threads()
    gansearch.train(config, copied, device="cpu", threads=before + 1, on_report=seen.append)
    assert torch.get_num_threads() == before, "which are its caller's"
    assert seen == []
    assert same_weights(copied, trained)


def test_training_takes_no_folder_of_others(config, copied, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("precious")
    with pytest.raises(UserError, match="holds other things: take a new --out"):
        gansearch.train(config, tmp_path / "mine", device="cpu")
    assert [p.name for p in (tmp_path / "mine").iterdir()] == ["thesis.txt"]
    with pytest.raises(UserError, match="is a file"):
        gansearch.train(config, tmp_path / "mine" / "thesis.txt", device="cpu")
    other = tmp_path / "other.yaml"
    other.write_text(CONFIG.replace("seed: 3", "seed: 4"))
    before = {path: path.stat().st_mtime_ns for path in copied.rglob("*")}
    with pytest.raises(UserError, match="made by another configuration; take a new --out"):
        gansearch.train(other, copied, device="cpu")
    assert {path: path.stat().st_mtime_ns for path in copied.rglob("*")} == before


def test_a_device_that_is_not_there_says_so(config, tmp_path):
    with pytest.raises(UserError, match="--device nonsense cannot be used here"):
        gansearch.train(config, tmp_path / "x", device="nonsense")
    assert not (tmp_path / "x").exists()


def test_nothing_good_to_keep_is_told(tmp_path):
    path = tmp_path / "c.yaml"
    rate = "optimizer: {discriminator: {name: sgd, lr: 1.0e+30}}\n"
    path.write_text(CONFIG + rate)
    with pytest.raises(UserError, match=r"nothing to keep: the trial diverged \(.+\)"):
        gansearch.train(path, tmp_path / "out", device="cpu")
    assert not (tmp_path / "out" / "model.json").exists()


# Samples


def test_a_seed_gives_the_same_images(trained, tmp_path):
    for name, seed in (("a", 5), ("b", 5), ("c", 6)):
        gansearch.sample(trained, tmp_path / "new" / f"{name}.png", count=9, seed=seed)
    a, b, c = ((tmp_path / "new" / f"{name}.png").read_bytes() for name in "abc")
    assert a[:4] == b"\x89PNG"
    assert a == b != c
    images = read_model(trained).sample(300, seed=5)
    assert (images.shape, images.dtype) == ((300, 1, 8, 8), torch.uint8)
    assert torch.equal(images, read_model(trained).sample(300, seed=5))


class Bomb:
    def __init__(self, target: Path) -> None:
        self.target = str(target)

    def __reduce__(self):
        return (os.mkdir, (self.target,))


def test_weights_never_run_code(copied, tmp_path):
    fired = tmp_path / "fired"
    bomb = pickle.dumps(Bomb(fired))
    (copied / "generator.safetensors").write_bytes(bomb)
    with pytest.raises(WeightsError, match=r"generator\.safetensors"):
        gansearch.sample(copied, tmp_path / "x.png")
    torch.save(Bomb(fired), copied / "generator.safetensors")
    with pytest.raises(WeightsError, match=r"generator\.safetensors"):
        gansearch.sample(copied, tmp_path / "x.png")
    assert not fired.exists()
    assert not (tmp_path / "x.png").exists()
    pickle.loads(bomb)
    assert fired.exists(), "the bomb is one"


def test_a_damaged_model_is_refused(copied, trained, tmp_path):
    def restore(name):
        shutil.copy(trained / name, copied / name)

    weights = (trained / "generator.safetensors").read_bytes()
    for damaged in (weights[:-10], b"", weights[:4] + b"\xff" * 4 + weights[8:]):
        (copied / "generator.safetensors").write_bytes(damaged)
        with pytest.raises(WeightsError):
            gansearch.sample(copied, tmp_path / "x.png")
    shutil.copy(trained / "discriminator.safetensors", copied / "generator.safetensors")
    with pytest.raises(WeightsError, match=r"does not fit its config\.yaml"):
        gansearch.sample(copied, tmp_path / "x.png")
    restore("generator.safetensors")
    for name, text, words in (
        ("model.json", "{", "is not JSON: Expecting property name"),
        ("model.json", "[" * 100_000, "is not JSON: "),
        ("model.json", "[]", "must be a mapping"),
        ("model.json", "{}", "domain: is required"),
        ("model.json", '{"image_shape": 3}', "image_shape: needs a list, not 3"),
        ("config.yaml", "latent_size: none\n", "latent_size: needs an integer, not 'none'"),
        ("config.yaml", "- 1\n", "must be a mapping"),
        ("config.yaml", "generator: {name: nonsense}\n", "unknown generator 'nonsense'"),
    ):
        (copied / name).write_text(text)
        with pytest.raises(UserError, match=re.escape(words)) as caught:
            gansearch.sample(copied, tmp_path / "x.png")
        if words != "unknown generator 'nonsense'":
            assert str(caught.value).startswith(f"{copied / name}: 1 mistake")
        restore(name)
    assert not (tmp_path / "x.png").exists()
    (copied / "model.json").unlink()
    with pytest.raises(UserError, match=r"is not a model's folder: it has no model\.json"):
        gansearch.sample(copied, tmp_path / "x.png")
    with pytest.raises(UserError, match="is a folder"):
        gansearch.sample(trained, tmp_path)


@pytest.mark.parametrize("real", [b"", b"junk", np.zeros((3, 2)), np.zeros(2), np.array([["a"]])])
def test_real_points_that_are_none_are_told(tmp_path, real):
    domain = Points((1,), scale=2.0)
    file = tmp_path / "real.npy"
    file.write_bytes(real) if isinstance(real, bytes) else np.save(file, real)
    with pytest.raises(DataError, match=r"real\.npy is not points of 1 numbers each"):
        with_real(domain, file)
    np.save(file, np.ones((3, 1), np.float32))
    assert with_real(domain, file).shown == ((1.0,),) * 3


# Export


@pytest.fixture(scope="session")
def study_made(tmp_path_factory, config):
    """A study of four trials made by hand: 0 has lost its weights, 3 has no value."""
    tmp = tmp_path_factory.mktemp("study")
    directory = StudyDirectory(tmp / "s")
    directory.path.mkdir()
    directory.study_file.write_text("question: by hand\n")
    facts = {"metric": "d_loss", "goal": "min", "steps": 1500, "trials": 4, "digest": "abc"}
    facts |= {"question": "by hand", "study": "question: by hand", "id": "0", "report_every": 500}
    journal = Journal.create(directory.path, "s", facts)
    checked, data = load_config(config, tmp)
    reference = prepare(checked, data, LocalPaths(tmp, tmp))
    for number in range(4):
        trial = checked.model_copy(update={"seed": number})
        trainer = Trainer(trial, data, reference)
        journal.begin(number, {"lr": 0.1 * number}, {"lr": FloatDistribution(0, 1)}, trial.plain())
        for _ in range(0 if number == 3 else 3):
            report = trainer.advance()
            checkpoint.save(directory.trial(number), report.step, trainer.state())
            journal.report(number, report)
        journal.note(number, provenance=trainer.provenance())
        outcome = Outcome.FAILED if number == 3 else Outcome.COLLAPSED
        journal.end(journal.trials()[number], outcome, "lost its modes")
    return directory


@pytest.fixture
def study(study_made, tmp_path):
    path = shutil.copytree(study_made.path, tmp_path / "runs" / "s")
    return StudyDirectory(path), Journal.open(path, "s")


def best_of(journal):
    valued = [(r.best("d_loss", "min"), r.number) for r in journal.trials() if r.reports]
    return sorted((best.value, number, best.step) for best, number in valued)


@pytest.mark.parametrize("top", [0, -1])
def test_a_number_that_none_can_be_is_refused_in_a_notebook_too(study, tmp_path, top):
    """Where no command line has looked at it: of four, -1 were the best three."""
    with pytest.raises(UserError, match=f"--top {top}: must be at least 1"):
        gansearch.export(str(study[0].path), tmp_path / "out", top=top)
    assert not (tmp_path / "out").exists()
    with pytest.raises(UserError, match=f"--n {top}: must be at least 1"):
        gansearch.sample(tmp_path, tmp_path / "grid.png", count=top)


def test_a_trial_that_ended_badly_is_exported_with_a_word(study, tmp_path):
    directory, journal = study
    number = best_of(journal)[0][1]
    with pytest.warns(
        Doubt, match=rf"trial {number} is collapsed \(lost its modes\): .* its best report"
    ):
        gansearch.export(str(directory.path), tmp_path / "out")
    facts = json.loads((tmp_path / "out" / "model.json").read_text())
    assert facts["evidence"].startswith(f"trial {number} is collapsed")


def test_the_best_is_exported_with_its_evidence(study, tmp_path):
    directory, journal = study
    value, number, step = best_of(journal)[0]
    assert gansearch.export("s", tmp_path / "best", runs_dir=tmp_path / "runs") == [tmp_path / "best"]
    gansearch.export("s", tmp_path / "again", runs_dir=tmp_path / "runs")
    assert {path.name for path in (tmp_path / "best").iterdir()} == FILES
    facts = json.loads((tmp_path / "best" / "model.json").read_text())
    assert (facts["trial"], facts["value"], facts["step"], facts["rank"]) == (number, value, step, 1)
    assert (facts["study"], facts["study_digest"]) == ("s", "abc")
    assert (facts["outcome"], facts["reason"]) == ("collapsed", "lost its modes")
    assert facts["provenance"]["diversity"]["dataset"] == "digits"
    assert len(curve(tmp_path / "best")) == 3, "the whole curve, what came after the best too"
    checked, _ = load_config(tmp_path / "best" / "config.yaml", tmp_path)
    assert checked.seed == number
    state = checkpoint.load(checkpoint.path_of(directory.trial(number), step))
    weights = load_file(tmp_path / "best" / "generator.safetensors")
    assert all(torch.equal(weights[name], state["averaged"][name]) for name in weights)
    gansearch.sample(tmp_path / "best", tmp_path / "grid.png", count=4)


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ([1], "is no checkpoint: it holds a list"),
        ({"weight": torch.zeros(2)}, "is no training's: it has no config, step, generator, discrim"),
        (
            {"config": {"ema": "x"}, "step": 1, "generator": {}, "discriminator": {}},
            "ema: needs a number",
        ),
        ({"config": {}, "step": 1, "generator": {}, "discriminator": {}}, "domain: is required"),
    ],
)
def test_what_lies_in_a_checkpoint_s_place_is_told_and_nothing_is_exported(
    study, tmp_path, state, words
):
    directory, journal = study
    _, number, step = best_of(journal)[0]
    file = checkpoint.path_of(directory.trial(number), step)
    torch.save(state, file)
    with pytest.raises(UserError, match=re.escape(words)) as caught:
        gansearch.export("s", tmp_path / "best", runs_dir=tmp_path / "runs")
    assert str(file) in str(caught.value)
    assert not (tmp_path / "best").exists()


def test_the_best_few_are_exported_in_their_order(study, tmp_path):
    directory, journal = study
    (tmp_path / "best").mkdir()  # empty: that is free
    folders = export(StoredStudy(directory), tmp_path / "best", top=3)
    wanted = [f"{rank:02d}-trial-{n:04d}" for rank, (_, n, _) in enumerate(best_of(journal), start=1)]
    assert [folder.name for folder in folders] == wanted
    assert sorted(path.name for path in (tmp_path / "best").iterdir()) == wanted
    for folder in folders:
        assert read_model(folder).sample(2, 0).shape == (2, 1, 8, 8)


def test_an_export_into_the_folder_one_stands_in(study, tmp_path, monkeypatch):
    directory, _ = study
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    export(StoredStudy(directory), Path())
    assert {path.name for path in (tmp_path / "here").iterdir()} == FILES


def test_of_two_exports_into_one_folder_at_once_one_is_whole_and_one_is_told(study, tmp_path):
    directory, _ = study
    words = ["export", str(directory.path), "--out", str(tmp_path / "best")]
    command = [sys.executable, "-m", "gansearch", *words]
    both = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    told = sorted((process.communicate()[1], process.returncode) for process in both)
    assert sorted(code for _, code in told) == [0, 2], told
    assert any(" take another one" in words for words, _ in told)
    assert not any("Traceback" in words for words, _ in told)
    assert {path.name for path in (tmp_path / "best").iterdir()} == FILES
    assert not list(tmp_path.glob(".best*"))


@pytest.mark.parametrize("moves", [1, 100])
def test_weights_that_a_worker_replaces_as_they_are_read(study, tmp_path, monkeypatch, moves):
    """Between a look at the journal and one into the trial's folder a worker may get further."""
    directory, journal = study
    writer = Journal.open(directory.path, "s", writer=True)
    value, number, step = best_of(journal)[0]
    config = journal.trials()[number].config
    writer.begin(4, {"lr": 0.0}, {"lr": FloatDistribution(0, 1)}, config)
    state = checkpoint.load(checkpoint.path_of(directory.trial(number), step))

    def move(at):
        checkpoint.save(directory.trial(4), at, state | {"step": at})
        checkpoint.keep(directory.trial(4), {at})
        writer.report(4, Report(at, at, 1.0, {"d_loss": value - at}, 1.7e9))
        writer.flush()

    move(1)
    steps = iter(range(2, moves + 2))

    def gather(study):
        evidence = exporting.gather_as_ever(study)
        if at := next(steps, None):
            move(at)
        return evidence

    monkeypatch.setattr(exporting, "gather_as_ever", exporting.gather, raising=False)
    monkeypatch.setattr(exporting, "gather", gather)
    stored = StoredStudy(directory)
    with stored.held():
        if moves > exporting.ATTEMPTS:
            with pytest.raises(StudyError, match=r"trial 4 are replaced by better ones .*: try again"):
                export(stored, tmp_path / "best")
            return
        with pytest.warns(Doubt, match=r"trial 4 is running: .* of step 2; it may become better"):
            export(stored, tmp_path / "best")
    assert json.loads((tmp_path / "best" / "model.json").read_text())["step"] == 2


@pytest.mark.parametrize(
    ("top", "spoil", "message"),
    [
        (4, None, "--top 4: only 3 trials have a value"),
        (3, Path.unlink, r"the weights of trial .* were not kept .*, or .*\.pt is gone"),
        (
            3,
            lambda path: shutil.rmtree(path.parent),
            r"the weights of trial .* are gone: there is no folder .* any more; bring it back",
        ),
        (3, lambda path: path.write_bytes(b"no checkpoint"), r"not a readable .* bring it back"),
        (3, lambda path: torch.save(Bomb(path.parent / "fired"), path), "is not a readable checkpoint"),
    ],
)
def test_a_failed_export_leaves_nothing(study, tmp_path, top, spoil, message):
    directory, journal = study
    _, number, step = best_of(journal)[-1]
    path = checkpoint.path_of(directory.trial(number), step)
    if spoil:
        spoil(path)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises((UserError, WeightsError), match=message):
        export(StoredStudy(directory), tmp_path / "best", top=top)
    assert sorted(tmp_path.rglob("*")) == before


def test_an_export_takes_no_folder_of_others(study, tmp_path):
    directory, _ = study
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("precious")
    for out in (tmp_path / "mine", tmp_path / "mine" / "thesis.txt"):
        with pytest.raises(UserError, match="is not an empty folder: take another one"):
            export(StoredStudy(directory), out)
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "precious"


def test_a_study_without_a_value_has_nothing_to_export(tmp_path):
    directory = StudyDirectory(tmp_path)
    facts = {"metric": "fd", "goal": "min", "steps": 9, "trials": 4, "digest": "abc"}
    facts |= {"question": "", "study": "question: ''", "id": "0", "report_every": 3}
    Journal.create(tmp_path, "s", facts)
    with pytest.raises(StudyError, match="has a finite fd yet"):
        export(StoredStudy(directory), tmp_path / "out")


def test_the_images_of_digits_are_what_the_model_makes(trained):
    """Not noise: trained for 1,500 steps, the mean image comes nearer to that of the data."""
    real = torch.from_numpy(load("digits", {}, root=Path(), split="train").images).float().mean(0)
    fake = read_model(trained).sample(500, 0).float().mean(0)
    assert (fake - real).abs().mean() < (127.5 - real).abs().mean()
