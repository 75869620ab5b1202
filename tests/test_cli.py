"""The command line: what it says, what it exits with, and what it leaves behind."""

from __future__ import annotations

import ctypes
import importlib
import io
import json
import os
import pkgutil
import re
import resource
import shlex
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import known
import pandas as pd
import pytest
import yaml
from optuna.distributions import FloatDistribution
from rich.console import Console
from typer.main import get_command
from typer.testing import CliRunner

import gansearch
from gansearch import cli, terminal
from gansearch.journal.directory import StudyDirectory
from gansearch.journal.facts import DASHBOARD
from gansearch.journal.journal import Journal
from gansearch.journal.stored import StoredStudy
from gansearch.study.records import Outcome, Report
from gansearch.tuning.jobs import Job, RemoteAnswer
from gansearch.tuning.where import Where

ROOT = Path(__file__).parents[1]
QUICKSTART = ROOT / "studies" / "quickstart.yaml"

STUDY = """\
question: Does it run?
data: digits
generator: {name: mlp, depth: 1, width: 16}
discriminator: {name: mlp, depth: 1, width: {int: [8, 16]}}
batch_size: 16
budget: {steps: 4, report_every: 2}
evaluation: {samples: 50, metrics: [diversity]}
objective: {metric: d_loss, goal: min}
search: {sampler: random, trials: 2}
"""


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    """A folder of one's own with a good study in it, and standing in it."""
    monkeypatch.chdir(tmp_path)
    Path("study.yaml").write_text(STUDY)
    return tmp_path


def process(*args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "gansearch", *args],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def tree(folder: Path) -> dict[str, int]:
    return {str(p): p.stat().st_mtime_ns for p in sorted(folder.rglob("*"))}


def finished_study(runs: Path, name: str = "done") -> Path:
    """A study's directory as a driver would have left it, but for the weights."""
    directory = runs / name
    directory.mkdir(parents=True)
    (directory / "study.yaml").write_text(STUDY)
    facts = {"metric": "d_loss", "goal": "min", "steps": 4, "trials": 3, "digest": "abc"}
    facts |= {"question": "Does it run?", "study": STUDY, "report_every": 2, "id": "5eeded"}
    journal = Journal.create(directory, name, facts)
    ends = [(2.0, Outcome.PRUNED), (1.0, Outcome.COMPLETED), (float("nan"), Outcome.DIVERGED)]
    for number, (value, outcome) in enumerate(ends):
        config = {"loss": {"name": "hinge"}, "seed": number}
        journal.begin(number, {"lr": 0.1}, {"lr": FloatDistribution(0, 1)}, config)
        journal.report(number, Report(2, 32, 0.5, {"d_loss": value, "x": float("inf")}, 0.0))
        journal.end(journal.trials()[number], outcome, "[red]why[/]")
    return directory


# Quick to load


def said_by(code):
    """What a Python of its own prints that runs this code, and complains of nothing."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_looking_at_the_package_loads_nothing_heavy():
    code = (
        "import sys, gansearch, gansearch.cli\n"
        "dir(gansearch)\n"
        "try: gansearch.cli.app(['--help'])\n"
        "except SystemExit as end: assert not end.code\n"
        "heavy = {'torch', 'ray', 'mlflow', 'pandas', 'optuna', 'sklearn', 'matplotlib', 'numpy'}\n"
        "sys.exit(' '.join(sorted(heavy & set(sys.modules))) or 0)"
    )
    said = said_by(code)
    for name in ("check", "run", "resume", "status", "ui", "sync", "export", "train", "sample"):
        assert f" {name} " in said


def test_a_command_that_has_loaded_triton_ends_without_a_word_of_it():
    """Its binding tells of each object that is left at the end; torch's compiler loads it."""
    pytest.importorskip("triton")
    code = (
        "import sys, triton._C.libtriton\n"
        "sys.argv[1:] = ['--help']\n"
        "from gansearch import cli\n"
        "cli.main()"
    )
    said_by(code)


@pytest.mark.parametrize(
    ("arguments", "heavy"),
    [
        (["status", "done"], {"torch", "ray", "mlflow", "scipy"}),
        (["check", "study.yaml"], {"ray", "mlflow", "pandas", "scipy", "sympy", "torch._dynamo"}),
        (["check", "deep.yaml"], {"ray", "mlflow", "pandas", "scipy", "sympy", "torch._dynamo"}),
    ],
)
def test_a_command_loads_only_what_it_needs(here, arguments, heavy):
    """Each of them takes seconds; torch's compiler (`_dynamo`) comes with sympy, and both unasked."""
    finished_study(here / "runs")
    deep = {"width": 8, "depth": 1, "norm": "spectral"}
    study = yaml.safe_load(STUDY) | {"discriminator": {"choice": [{"name": "dcgan", **deep}]}}
    study["generator"] = {"name": "dcgan", "width": 8, "depth": 1}
    study["optimizer"] = {"generator": {"name": "rmsprop"}, "discriminator": {"name": "sgd"}}
    Path("deep.yaml").write_text(yaml.safe_dump(study))
    code = (
        "import sys\nfrom gansearch.cli import app\n"
        f"try: app({arguments!r})\n"
        "except SystemExit as end: assert not end.code\n"
        f"sys.exit(' '.join(sorted({heavy!r} & set(sys.modules))) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_public_face_is_all_there():
    import gansearch

    assert set(gansearch.__all__) <= set(dir(gansearch))
    for module in pkgutil.walk_packages(gansearch.__path__, "gansearch."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)  # must not take the place of a function
    for name in gansearch.__all__:
        assert callable(getattr(gansearch, name))
    with pytest.raises(AttributeError, match="has no attribute 'nonsense'"):
        gansearch.nonsense  # noqa: B018


def test_a_user_s_type_checker_sees_every_public_function(tmp_path):
    script = tmp_path / "user.py"
    lines = [f"reveal_type(gansearch.{name})" for name in gansearch.__all__]
    script.write_text("\n".join(["import gansearch", *lines]))
    config = tmp_path / "mypy.ini"  # of other libraries it need not know anything, which saves minutes
    config.write_text(
        "[mypy]\nfollow_imports = skip\n[mypy-gansearch,gansearch.*]\nfollow_imports = silent\n"
    )
    command = [sys.executable, "-m", "mypy", "--config-file", config, "--cache-dir", tmp_path, script]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    revealed = re.findall(r'note: Revealed type is "(.*)"', done.stdout)
    unseen = [
        name
        for name, kind in zip(gansearch.__all__, revealed, strict=True)
        if not kind.startswith("def (")
    ]
    assert not unseen, "what a name is that `gansearch/__init__.py` does not import for type checkers"


# Bad input: exit code 2, one message, nothing created

BAD = {
    "not there": ("none.yaml", "none.yaml: 1 mistake\n  cannot be read: No such file or directory"),
    "not yaml": ("a: [1\nb: 2\n", "line 2: is not valid YAML"),
    "not a mapping": ("- 1\n", "must be a mapping"),
    "unknown key": ("generater: mlp\n", "line 1, generater: not a key of a study (did you mean 'gen"),
    "wrong type": (STUDY + "ema: fast\n", "line 10, ema: needs a number, not 'fast'"),
    "empty range": (
        STUDY + "ema: {uniform: [1, 1]}\n",
        "line 10, ema.uniform: the range [1, 1] is one",
    ),
    "inverted range": (STUDY + "ema: {uniform: [0.9, 0.5]}\n", "line 10, ema.uniform: the range [0.9,"),
    "image size": ("data: {name: digits, image_size: 20}\n", "image size 20 is not a power of two"),
    "missing data": ("data: {name: mnist}\n", "line 1, data: data set 'mnist' is not in"),
    "not measured": ("objective: {metric: fid}\n", "does not measure 'fid': add it to evaluation"),
    "contradicting goal": ("objective: {goal: max}\n", "fd_classifier is better the lower it is"),
    "no such part": ("loss: {name: 'no.such:Loss'}\n", "cannot import the loss 'no.such:Loss'"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_study_is_one_message_and_nothing_created(case, here, command, offline):
    text, message = BAD[case]
    file = Path(text) if case == "not there" else Path("bad.yaml")
    if case != "not there":
        file.write_text(text)
    before = tree(here)
    for verb in ("run", "check"):
        code, out, err = command(verb, str(file), "--data", str(here / "nodata"))
        assert (code, out) == (2, "")
        assert err.startswith(f"error: {file}: ")
        assert message in err
        assert "Traceback" not in err
    assert tree(here) == before


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--name", "../x"], "'../x' cannot be a study's name"),
        (["--name", "done"], "done exists already: go on with it by `gansearch resume done`"),
        (["--runs-dir", "study.yaml"], "study.yaml is a file: take another --runs-dir"),
        (["--runs-dir", "study.yaml/x"], "study.yaml is a file: take another --runs-dir"),
        (["--set", "search.trials"], "--set search.trials: needs KEY=VALUE"),
        (["--set", "=3"], "--set =3: needs KEY=VALUE"),
        (["--set", "search.trials=["], "--set search.trials=[: the value is not valid YAML"),
        (["--set", "search.trials=0"], "search.trials: 0 trials, and no stability section"),
        (
            ["--set", "search.trails=8"],
            "search.trails: not a key of this section (did you mean 'trials'",
        ),
        (["--set", "question.x=3"], "--set question.x: 'question' holds no keys"),
        (["--set", "nonsense=3"], "nonsense: not a key of a study"),
        (
            ["--tracking", "sqlite:////proc/nope/x.db"],
            "--tracking sqlite:////proc/nope/x.db: there is no folder",
        ),
        (["--tracking", "mlruns"], "--tracking mlruns: is no tracking URI: say http://HOST:5000"),
        (["--trials", "0"], "Invalid value for '--trials'"),
        (["--trials", "many"], "Invalid value for '--trials'"),
        (["--concurrency", "0"], "Invalid value for '--concurrency'"),
        (["--frobnicate"], "No such option: --frobnicate"),
    ],
)
def test_a_bad_option_is_one_message_and_nothing_created(args, message, here, command):
    finished_study(here / "runs")
    before = tree(here)
    code, out, err = command("run", "study.yaml", *args)
    assert (code, out) == (2, "")
    assert message in err
    assert tree(here) == before


def test_a_taken_name_is_told_with_a_command_that_goes_on_as_was_asked(here, command):
    finished_study(here / "my runs")
    asked = ("--runs-dir", "my runs", "--tracking", "off", "--data", "my data")
    told = f"go on with it by `gansearch resume '{here}/my runs/done'"
    for verb, more, repeated in (
        ("run", ("--concurrency", "1", "--nice", "3"), " --concurrency 1 --nice 3"),
        ("check", ("--storage", "sqlite:///team.db"), ""),  # its journal lies in its folder
    ):
        code, _, err = command(verb, "study.yaml", "--name", "done", *asked, *more)
        assert code == 2
        assert f"{told}{repeated} --data 'my data' --tracking off`, or take another --name" in err
    words = shlex.split(err.partition("`gansearch ")[2].partition("`")[0])
    code, _, err = command(*words)
    assert "no study" not in err


@pytest.mark.parametrize(
    ("storage", "message"),
    [
        ("sqlite:///no/x.db", "there is no folder"),
        ("sqlite:///runs", "is a folder, and no file"),
        ("sqlite:///study.yaml", "is no SQLite file"),
        ("sqlite:////proc/x.db", "may not be written here"),
        ("sqlite://", "a database in memory ends with its process"),
        ("sqlite:///:memory:", "a database in memory ends with its process"),
        ("redis://host", "no such database is known: say postgresql://HOST/DATABASE"),
        ("oracle://host/x", "needs the Python package oracledb, which is not installed here"),
        ("postgresql+asyncpg://host/x", "needs the Python package asyncpg, which is not installed"),
        ("postgresql://127.0.0.1:1/x", "does not answer"),
        ("storage.db", "it is no URL such as postgresql://HOST/DATABASE"),
        ("sqlite:///team.db", "already has a study named 'taken'"),
    ],
)
def test_check_refuses_a_storage_by_the_words_of_run(storage, message, here, command):
    Path("runs").mkdir()
    Path("elsewhere").mkdir()
    Journal.create(
        Path("elsewhere"), "taken", {"goal": "min", "metric": "fd", "steps": 1}, "sqlite:///team.db"
    )
    before = tree(here)
    told = []
    for verb in ("run", "check"):
        code, _, err = command(
            verb, "study.yaml", "--storage", storage, "--name", "taken", "--tracking", "off"
        )
        assert code == 2
        told += err.splitlines()[-1:]
    assert message in told[0]
    assert told[0] == told[1]
    assert tree(here) == before


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["status", "dome"], "there is no study 'dome' in runs (did you mean 'done'?)"),
        (["resume", "nope"], "there is no study 'nope' in runs (there are: done)"),
        (["export", "nope", "--out", "x"], "there is no study 'nope'"),
        (["export", "done", "--out", "x"], "the weights of trial 1 are gone: there is no folder "),
        (["export", "done", "--out", "x", "--top", "3"], "--top 3: only 2 trials have a value"),
        (["export", "done", "--out", "runs"], "runs is not an empty folder"),
        (["sync", "nope"], "there is no study 'nope'"),
        (["stability", "done", "nope"], "one study at a time: done, nope"),
        (["stability", "nope"], "there is no study 'nope'"),
        (["stability", "done", "--of", "trial 1"], "--of goes with --around"),
        (["stability", "done", "--around", "0.5", "--top", "2"], "--top does not go with --around"),
        (["stability", "done", "--around", "1.5"], "--around 1.5: must lie between 0 and 1"),
        (["stability", "done", "--set", "ema=0.9"], "--set is for configuration files alone"),
        (["stability", "done", "--per", "moon"], "--per: must be 'study' or 'loss', not 'moon'"),
        (["stability", "none.yaml"], "none.yaml: 1 mistake\n  cannot be read"),
        (["stability", "axis.yaml"], "axis.yaml: 1 mistake"),
        (["stability", "axis.yaml", "--top", "2"], "--top needs a study to choose from"),
        (["stability", "done", "--name", "x"], "--name is for a new study"),
        (["stability", "default.yaml"], "default.yaml: the label 'default' is taken"),
        (
            ["resume", "done", "--set", "x=1", "--set", "ema=0"],
            "--set x, ema: of a launched study only",
        ),
        (["check", "axis.yaml", "--data", "~nobody-of-that-name"], "axis.yaml: "),
        (["report", "nope"], "there is no study 'nope'"),
        (["report", "done", "--by", "luck"], "no score is called 'luck' (there are: iqm, mean"),
        (["report", "done", "--threshold", "nan"], "--threshold nan: must be a finite number"),
        (["report", "done", "--out", "."], "holds"),
        (["report", "done", "--out", "axis.yaml/x"], "axis.yaml is a file: take another --out"),
        (["compare", "done"], "name two studies or more"),
        (["compare", "done", "done", "--out", "x.txt"], "--out x.txt: must end in .csv or .html"),
        (
            ["compare", "done", "done", "--out", "axis.yaml/x.csv"],
            "axis.yaml is a file: take another --out",
        ),
        (["replay", "done", "--out", "runs"], "runs is a folder: --out must name a .svg or .pdf file"),
        (["replay", "done", "--out", "axis.yaml/x.svg"], "axis.yaml is a file: take another --out"),
        (["logs", "done"], "say which trial: --trial N"),
        (["logs", "done", "--trial", "7"], "there is nothing of trial 7"),
        (["submit", "none.yaml", "--address", "http://127.0.0.1:9"], "cannot be read"),
        (["sync", "done", "--tracking", "sqlite:////proc/nope/x.db"], "there is no folder /proc/nope"),
        (["sync", "done", "--tracking", "none"], "there is nothing to send to: tracking is off"),
        (["resume", "done", "--tracking", "runs"], "--tracking runs: is a path"),
        (["stability", "done", "--tracking", "there:5000"], "did you mean http://there:5000?"),
        (["report", "done", "--tracking", "nope"], "--tracking nope: is no tracking URI"),
        (["ui", "done", "--tracking", "off"], "there is nothing to look at: tracking is off"),
        (["ui", "nope"], "there is no study 'nope'"),
        (["ui", "--runs-dir", "elsewhere"], "there is no study in elsewhere"),
        (
            ["sample", ".", "--out", "g.png"],
            ". is not a model's folder: it has no config.yaml, model.json",
        ),
        (["train", "none.yaml", "--out", "x"], "none.yaml: 1 mistake\n  cannot be read"),
        (
            ["train", "study.yaml", "--out", "x"],
            "study.yaml: 1 mistake\n  it has question, search, so it is a study's file and not a "
            "configuration's: `gansearch run` takes it",
        ),
        (
            ["train", "runs/done", "--out", "x"],
            "runs/done: 1 mistake\n  is the folder of a study, whose file is runs/done/study.yaml; "
            "`gansearch export runs/done --out FOLDER` writes its best configuration",
        ),
        (["train", "runs", "--out", "x"], "runs: 1 mistake\n  is a folder, not a file"),
        (["run", "runs/done"], "is the folder of a study, whose file is runs/done/study.yaml"),
        (["train", "axis.yaml", "--out", "x"], "line 1, ema: needs a number, not {'uniform': [0, 1]}"),
        (
            ["status", "done", "--storage", "nonsense://me@host"],
            "cannot open the Optuna storage",
        ),
    ],
)
def test_every_other_command_tells_a_mistake_likewise(args, message, here, command):
    finished_study(here / "runs")
    Path("axis.yaml").write_text("ema: {uniform: [0, 1]}\n")
    Path("default.yaml").write_text("ema: 0.9\n")
    before = tree(here)
    code, out, err = command(*args)
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert message in err
    assert "s3cr3t" not in err
    assert tree(here) == before


def test_a_command_in_a_folder_that_is_gone_says_so(tmp_path):
    line = 'mkdir gone && cd gone && rmdir ../gone && exec "$0" -m gansearch status done'
    done = subprocess.run(
        ["sh", "-c", line, sys.executable], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: the folder in which you are is gone: change into another one\n"


def test_a_second_study_of_a_file_is_told_of_the_first(here, command):
    finished_study(here / "runs")
    Path("runs/done").rename("runs/study")
    Path("study-3.yaml").write_text(STUDY)
    for args, told in (
        (["study.yaml"], ["study"]),
        (["study.yaml", "--name", "study-2"], []),
        (["study-3.yaml"], []),
    ):
        code, _, err = command("run", *args, "--tracking", "runs")
        lines = err.splitlines()
        assert (code, lines[-1].partition(":")[0]) == (2, "error")
        assert lines[:-1] == [
            f"there is a study '{first}' (`gansearch resume {first}` goes on with that); this one is "
            "'study-2'"
            for first in told
        ]


def test_brackets_in_a_message_are_not_taken_for_colours(here, command):
    Path("[red]x.yaml").write_text("loss: {choice: []}\n")
    _, _, err = command("check", "[red]x.yaml")
    assert err.startswith(
        "error: [red]x.yaml: 1 mistake\n  line 1, loss.choice: needs a list of options"
    )


def test_colons_in_a_message_are_not_taken_for_pictures(here, command):
    _, _, err = command("parts", "loss", "a:b:c")
    assert err.startswith("error: cannot import the loss 'a:b:c': it is written")


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (["train", "c.yaml", "--out", "m", "--threads", "100000000000"], "between 1 and 1,024"),
        (["replay", "done", "--workers", "1000000000000"], "between 1 and 10,000"),
        (["replay", "done", "--repeats", "1000000000000"], "between 1 and 100,000"),
        (
            ["replay", "done"],
            "trial 0 lies nowhere in the search space of its study: discriminator.wid",
        ),
        (["parts", "study", "x"], "(there are: batch_size, budget, budget.report_every, budget.steps"),
    ],
)
def test_what_would_hang_or_have_a_traceback_is_told(args, told, here, command):
    finished_study(here / "runs")
    code, out, err = command(*args)
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert told in err


def test_a_real_process_exits_with_2_and_shows_no_traceback(here):
    Path("bad.yaml").write_text("generater: 1\nloss: {name: hingee}\n")
    before = tree(here)
    done = process("run", "bad.yaml")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "error: bad.yaml: 2 mistakes\n"
        "  line 1, generater: not a key of a study (did you mean 'generator'?)\n"
        "  line 2, loss.name: unknown loss 'hingee' (did you mean 'hinge'?)\n"
    )
    assert tree(here) == before


@pytest.mark.slow  # it starts a Ray; tests/tuning/test_run.py has the same refusal of one that stands
def test_more_gpus_than_there_are(here):
    Path("gpus.yaml").write_text(STUDY + "resources: {gpus: 64}\n")
    before = tree(here)
    done = process("run", "gpus.yaml", "--tracking", "off")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    message = done.stderr[done.stderr.index("error: ") :]
    assert "64" in message
    assert "GPU" in message
    assert tree(here) == before


def test_parts_in_the_folder_one_stands_in_are_found(here, command):
    Path("own_losses.py").write_text(
        "from gansearch.losses.hinge import Hinge\n"
        "class Mine(Hinge):\n"
        "    def __init__(self, *, margin: float = 1.0): pass\n"
    )
    Path("bad.yaml").write_text(STUDY + "loss: {name: 'own_losses:Mine', margn: 2}\n")
    code, _, err = command("check", "bad.yaml")
    assert code == 2
    assert "line 10, loss.margn: not an option of 'own_losses:Mine' (did you mean 'margin'?)" in err


# What goes well


def test_check_shows_the_quickstart_and_tries_it(here, command):
    before = tree(here)
    code, out, err = command("check", str(QUICKSTART))
    assert (code, err) == (0, "")
    out = " ".join(out.split())
    question = yaml.safe_load(QUICKSTART.read_text())["question"]
    for shown in (
        question,
        "loss.wasserstein.penalty.weight log [0.1, 100]",
        "batch_size",
        "1x8x8",
        "ok: ",
    ):
        assert shown in out
    assert tree(here) == before


def test_a_check_tells_what_sampler_and_pruner_go_by(here, command):
    options = (
        "--set",
        "search.sampler={name: tpe, belief: strong}",
        "--set",
        "pruner.second_chances=false",
    )
    code, out, err = command("check", "study.yaml", *options)
    assert code == 0, err
    assert "tpe (belief: strong, startup_trials: " in out
    assert "asha (reduction_factor: 3, second_chances: false)" in out


def test_check_takes_overrides(here, command):
    code, out, _ = command(
        *("check", "study.yaml", "--set", "search.trials=7", "--set", "latent_size={int: [2, 5]}"),
        *("--set", "optimizer.generator.lr={log: [1e-5, 1e-3]}"),
    )
    out = " ".join(out.split())
    assert code == 0
    assert "7 trials of at most 4 steps" in out
    assert "latent_size int [2, 5]" in out
    assert "optimizer.generator.lr log [1e-05, 0.001]" in out
    _, out, _ = command(
        *("check", "study.yaml", "--set", "batch_size={choice: [16, 8]}"),
        *("--set", "discriminator_steps={int: [1, 5]}"),
    )
    assert "(up to 640 real samples)" in out, "2 trials of 4 x 5 batches of 16"


def test_check_is_asked_as_run_is(here, command):
    """All but how it runs: the same words, and the same refusals."""
    group = get_command(cli.app)
    asked = [{p.name for p in group.commands[verb].params} for verb in ("run", "check")]
    assert asked[0] - asked[1] == {"address", "concurrency", "nice"}
    assert asked[1] <= asked[0]
    code, out, _ = command("check", "study.yaml", "--trials", "7")
    assert code == 0
    assert "7 trials of at most 4 steps" in " ".join(out.split())
    finished_study(here / "runs")
    code, _, err = command("check", "study.yaml", "--name", "done")
    assert code == 2
    assert "done exists already: go on with it by `gansearch resume done`" in err
    (here / "theirs").mkdir()
    (here / "theirs" / "my_hinge.py").write_text("from gansearch.losses.hinge import Hinge\n")
    code, _, err = command("check", "study.yaml", "--set", "loss=my_hinge:Hinge")
    assert code == 2
    words = "check", "study.yaml", "--set", "loss=my_hinge:Hinge", "--module", "theirs/my_hinge.py"
    code, _, err = command(*words)
    assert (code, err) == (0, "")


def test_check_tells_the_whole_plan(here, command):
    changes = "stability.seeds=3", "stability.top=2", "stability.per=loss", "resources.lanes=4"
    changes += ("stability.configurations={slow: {batch_size: 8}}",)
    code, out, _ = command("check", "study.yaml", *(f"--set={each}" for each in changes))
    out = " ".join(out.split())
    assert code == 0
    assert "2 trials of at most 4 steps, a report every 2 (up to 128 real samples)" in out
    assert "on 3 fresh seeds each: the best 2 of each loss, the default, slow" in out
    assert "1 CPU, no GPU; lanes: 4" in out
    assert "ok: 2 configurations" in out  # 1 of the search, and the one that is named


def test_check_tells_what_a_search_will_train_alone(here, command):
    """`lanes: auto` is for searches as well as for fresh seeds."""
    code, out, _ = command(
        "check", "study.yaml", "--set", "generator.mixture=2", "--set", "generator.diversity=0.5"
    )
    assert code == 0
    assert "runs alone, because of generator.diversity" in " ".join(out.split())


def test_check_tells_all_that_ends_a_search(here, command):
    limits = "search.budget={device_hours: 0.5, least_chance: 0.05}"
    code, out, _ = command("check", "study.yaml", "--set", "search={}", "--set", limits)
    out = " ".join(out.split())
    assert code == 0
    assert "10,000 trials of at most 4 steps" in out
    ends = (
        "or 0.5 device-hours, or once 20 have ended, till the chance that the rest improves the best "
    )
    assert f"{ends}is under 5 %" in out


def test_check_of_a_study_that_only_repeats(here, command):
    changes = "search={trials: 0}", "discriminator={name: mlp, depth: 1, width: 8}"
    changes += ("stability={seeds: 3, default: false, configurations: {slow: {batch_size: 8}}}",)
    code, out, _ = command("check", "study.yaml", *(f"--set={each}" for each in changes))
    out = " ".join(out.split())
    assert code == 0
    assert "nothing is searched; trainings of at most 4 steps, a report every 2" in out
    assert "on 3 fresh seeds each: slow" in out
    for absent in ("axis", "starts with", "sampler", "the best"):
        assert absent not in out


@pytest.mark.parametrize(
    "args",
    [
        ["--runs-dir", "study.yaml"],
        ["--runs-dir", "study.yaml/x"],
        ["--tracking", "mlruns"],
        ["--storage", "nonsense"],
        ["--storage", "nonsense", "--tracking", "mlruns"],
    ],
)
def test_check_refuses_a_place_as_run_does(args, here, command):
    _refused_alike(args, here, command)


@pytest.mark.parametrize("name", ["GANSEARCH_PATIENCE", "GANSEARCH_STORAGE_PATIENCE"])
@pytest.mark.parametrize("said", ["5m", "nan"])
def test_a_patience_that_is_none_is_refused_before_anything_is_made(
    name, said, here, command, monkeypatch
):
    """Each worker would ask for it, and each trial would fail for it."""
    monkeypatch.setenv(name, said)
    assert f"{name}={said}: is no number of seconds" in _refused_alike([], here, command)


def _refused_alike(args, here, command):
    """What `run` and `check` say of what neither takes."""
    before = tree(here)
    refused = command("run", "study.yaml", *args)
    assert refused[0] == 2
    code, _, err = command("check", "study.yaml", *args)
    assert (code, err) == (2, refused[2])
    assert tree(here) == before
    return err


def test_check_warns_of_what_only_a_cluster_has(here, command):
    resources = "resources.gpus=99", "resources.cpus=100000"
    code, out, err = command("check", "study.yaml", *(f"--set={each}" for each in resources))
    assert code == 0
    assert "ok: " in out
    assert len(err.splitlines()) == 2
    assert (
        "not on this machine, only on a cluster: resources.gpus: a trial asks for 99 GPUs, and" in err
    )
    assert f"a trial asks for 100000 CPUs, and this machine has {os.cpu_count()}" in err


def test_status_says_who_is_paused_and_why(here, command):
    directory = finished_study(here / "runs")
    journal = Journal.open(directory, "done", writer=True)
    journal.begin(
        3,
        {"lr": 0.2},
        {"lr": FloatDistribution(0, 1)},
        {"loss": {"name": "hinge"}, "seed": 3},
        origin="old[1]",
    )
    journal.report(3, Report(2, 32, 0.5, {"d_loss": 1.5}, 0.0))
    journal.pause(journal.trials()[3], "3rd of [4] at step 2")
    _, out, _ = command("status", "done")
    assert "1 paused" in out
    assert "1 of 4 trials were paused, 1 of them now; 0 went on" in out
    assert "paused: trial 3 (old[1]), 3rd of [4] at step 2" in out
    config = {"loss": {"name": "hinge"}, "seed": 3}
    for number in range(4, 12):
        journal.begin(number, {"lr": 0.2}, {"lr": FloatDistribution(0, 1)}, config)
        journal.report(number, Report(2, 32, 0.5, {"d_loss": 1.5 + number}, 0.0))
        journal.pause(journal.trials()[number], "behind at step 2")
    _, out, _ = command("status", "done")
    assert "paused: trial 8, behind" in out
    assert "paused: trial 9, behind" not in out
    assert "paused: 3 others with worse values" in out


def test_status_links_ray_s_dashboard_as_the_asker_reaches_it(here, command, monkeypatch):
    directory = finished_study(here / "runs")
    journal = Journal.open(directory, "done", writer=True)
    journal.study.set_user_attr(DASHBOARD, "http://127.0.0.1:8265/#/jobs/02000000")
    _, out, _ = command("status", "done")
    assert "dashboard" not in out, "no driver is at work"
    monkeypatch.setattr(StoredStudy, "is_held", True)
    _, out, _ = command("status", "done")
    assert "Ray's dashboard: http://127.0.0.1:8265/#/jobs/02000000\n" in out
    asked = []
    places = []

    def remote(address, words, *, where):
        asked.append(words)
        places.append(where.runs_dir)
        return RemoteAnswer(0, "", "")

    monkeypatch.setattr(cli.api, "remote", remote)
    command("status", "done", "--address", "http://me:hunter2@laptop:9999/")
    assert "hunter2" not in str(asked)
    monkeypatch.setenv("GANSEARCH_RUNS", "/this/machine")
    command("status", "done", "--address", "http://laptop:9999")
    command("status", "done", "--address", "http://laptop:9999", "--runs-dir", "/shared/runs")
    assert places == [None, None, "/shared/runs"], "the environment is not the cluster's"
    monkeypatch.delenv("GANSEARCH_RUNS")
    _, out, _ = command(*asked[0])
    assert "Ray's dashboard: http://laptop:9999/#/jobs/02000000\n" in out


def test_check_tells_which_part_fails_in_its_first_step(here, command):
    Path("faulty.py").write_text(
        "from gansearch.losses.hinge import Hinge\n"
        "class Faulty(Hinge):\n"
        "    def d(self, real, fake): raise TypeError('no [such] thing')\n"
    )
    Path("faulty.yaml").write_text(STUDY + "loss: {choice: [hinge, 'faulty:Faulty']}\n")
    code, _, err = command("check", "faulty.yaml")
    assert code == 2
    assert "the loss 'faulty:Faulty' raises TypeError: " in err
    assert "TypeError: no [such] thing" in err


def test_a_job_is_watched_where_it_was_told_to_be_kept(capsys):
    job = Job("gansearch-s-1", "s", "run", "pending")
    cli._say_job(job, "http://head:8265", Where(runs_dir="/shared/my runs"))
    out = capsys.readouterr().out
    assert "  gansearch logs s --address http://head:8265 --follow\n" in out
    assert "  gansearch status s --address http://head:8265 --runs-dir '/shared/my runs'\n" in out


def test_a_number_that_another_phase_has_is_told(here, command):
    study = finished_study(here / "runs")
    (study / "stability" / "trials" / "0004").mkdir(parents=True)
    code, _, err = command("logs", "done", "--trial", "4")
    assert code == 2
    assert "one of the stability study has that number (with --seeds)" in err


def test_status_is_one_strict_json_object(here):
    finished_study(here / "runs")

    def refuse(constant):
        raise AssertionError(f"{constant} is not JSON")

    done = process("status", "done", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(done.stdout, parse_constant=refuse)
    assert done.stdout.count("\n") == 1
    assert set(found) == {
        *("study", "state", "dashboard", "objective", "counts", "trials", "best"),
        *("second_chances", "over", "stability", "costs", "lanes"),
    }
    assert found["counts"] == {"pruned": 1, "completed": 1, "diverged": 1}
    assert (found["state"], found["best"]["number"]) == ("finished", 1)
    assert found["trials"][2]["metrics"] == {"d_loss": None, "x": None}


def test_status_for_people_by_name_and_by_path(here, command):
    finished_study(here / "runs")
    code, by_name, err = command("status", "done")
    assert (code, err) == (0, "")
    assert "done finished: 1 completed, 1 diverged, 1 pruned" in by_name
    lines = [line.split() for line in by_name.splitlines()]
    rows = [line for line in lines if line and line[0].isdigit()]
    assert [row[:3] for row in rows] == [["1", "completed", "1"], ["0", "pruned", "2"]]
    assert command("status", "runs/done")[1] == by_name
    assert command("status", str(here / "runs" / "done"), "--runs-dir", "none")[1] == by_name


@pytest.mark.parametrize(("width", "shown"), [(60, 1), (200, 12)])
def test_a_leaderboard_shows_what_came_of_trials_and_the_axes_that_fit(here, width, shown):
    finished_study(here / "runs")
    status = gansearch.status("done")
    for trial in status["trials"]:
        trial["params"] = {f"optimizer.generator.x{n}": 0.125 for n in range(12)}
    console = Console(width=width, file=io.StringIO())
    terminal.show_status(console, status, 10)
    lines = console.file.getvalue().splitlines()
    rows = [line.split() for line in lines if line.split()[:1] in (["0"], ["1"])]
    assert [row[1] for row in rows] == ["completed", "pruned"]
    assert all(row[5:] == ["0.125"] * shown for row in rows)
    assert (f"  and {12 - shown} axes more in trials.csv" in lines) == (shown < 12)


@pytest.mark.parametrize("width", [80, 120])
def test_a_ranking_is_whole_on_a_narrow_terminal(width):
    label, family = "an autoencoder", "non-saturating + gradient-penalty"
    row = {"rank": 1, "kind": "given", "family": family, "seeds": 12, "success_rate": 1.0}
    row |= {"success_low": 0.76, "success_high": 1.0, "iqm": 14.02, "iqm_low": 13.51, "iqm_high": 15.02}
    console = Console(width=width, file=io.StringIO())
    terminal.show_configurations(console, pd.DataFrame([row | {"p_first": 0.5}], index=[label]))
    said = console.file.getvalue()
    words = [label, *family.split(), "12", "100 % [76, 100]", "14.0 [13.5, 15.0]", "50 %", "first?"]
    assert [word for word in words if word not in said] == []
    assert ("and loss" in said) == (width < 100)


def test_the_names_of_axes_are_whole_on_a_narrow_terminal(here):
    console = Console(width=80, file=io.StringIO())
    named = {"choice": ["none", "spectral", "batch", "layer"]}
    penalty = {"choice": [None, {"name": "gradient-penalty", "weight": {"log": [0.1, 100]}}]}
    changes = {"loss": {"choice": [{"name": "non-saturating", "penalty": penalty}, "hinge"]}}
    changes |= {"discriminator.norm": named, "unsound": "allow"}
    terminal.show_study(console, gansearch.load_study("study.yaml", overrides=changes))
    said = console.file.getvalue()
    assert "loss.non-saturating.penalty.gradient-penalty.weight" in said
    assert "\N{HORIZONTAL ELLIPSIS}" not in said


def test_why_seeds_failed_is_told_beside_why_trials_did(here):
    finished_study(here / "runs")
    status = gansearch.status("done")
    failed = {"outcome": "stalled", "reason": "it learns no more, 2 reports in a row"}
    failures = [failed | {"number": n, "configuration": f"trial {n // 2}"} for n in range(14)]
    again = {"counts": {"stalled": 14}, "planned": 14, "configurations": [], "failures": failures}
    console = Console(width=80, file=io.StringIO())
    terminal.show_status(console, status | {"stability": again}, 10)
    said = console.file.getvalue()
    assert "  diverged, 1: [red]why[/] (trial 2)" in said
    seeds = "seeds of trial 0, trial 1, trial 2, trial 3, trial 4, ..."
    assert f"  stalled, 14: it learns no more ({seeds})" in said


def test_looking_changes_nothing(here, command):
    directory = finished_study(here / "runs")
    os.chmod(directory, 0o555)  # noqa: PTH101
    before = {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()}
    try:
        assert command("status", "done")[0] == 0
    finally:
        os.chmod(directory, 0o755)  # noqa: PTH101
    assert {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()} == before


@pytest.fixture
def read_only(here):
    """A finished study that may be read only, and what a command of who is bound by that gives."""
    directory = finished_study(here / "runs")
    with StoredStudy(StudyDirectory(directory)).held():
        pass  # by whoever has run it

    def bound():
        if os.geteuid() == 0:  # without the right to pass over what a folder's mode says
            ctypes.CDLL(None).prctl(PR_CAPBSET_DROP, CAP_DAC_OVERRIDE, 0, 0, 0)

    def run(*words):
        command = [sys.executable, "-m", "gansearch", *words]
        return subprocess.run(
            command, capture_output=True, text=True, check=False, preexec_fn=bound, cwd=here
        )

    (directory / ".lock").chmod(0o444)
    directory.chmod(0o555)
    yield directory, run
    directory.chmod(0o755)


PR_CAPBSET_DROP, CAP_DAC_OVERRIDE = 24, 1


def test_who_may_only_look_sees_that_a_study_runs(read_only):
    directory, run = read_only
    assert "done finished: " in run("status", "done").stdout
    with StoredStudy(StudyDirectory(directory)).held():
        assert "done running: " in run("status", "done").stdout
    assert "done finished: " in run("status", "done").stdout


@pytest.mark.parametrize("lacks_its_study_file", [False, True])
@pytest.mark.parametrize("words", ["status done", "repair done --dry-run", "report done --out there"])
def test_what_only_reads_works_where_nothing_may_be_written(read_only, words, lacks_its_study_file):
    directory, run = read_only
    if lacks_its_study_file:
        directory.chmod(0o755)
        (directory / "study.yaml").unlink()
        directory.chmod(0o555)
    told = run(*words.split())
    assert told.returncode == 0, told.stderr


@pytest.mark.parametrize("server", ["http://127.0.0.1:1", "postgresql://127.0.0.1:1/x"])
def test_to_sync_with_nobody_is_one_word_at_once(server, here, command):
    finished_study(here / "runs")
    code, out, err = command("sync", "done", "--tracking", server)
    assert (code, out) == (2, "")
    assert err.startswith(f"error: MLflow at {server} does not answer (")
    assert "Connection refused): start it, or say another --tracking" in err
    assert len(err.splitlines()) == 1


def test_a_dry_repair_still_waits_for_who_runs_the_study(read_only):
    directory, run = read_only
    with StoredStudy(StudyDirectory(directory)).held():
        told = run("repair", "done", "--dry-run")
    assert told.returncode == 2
    assert "is being run by another process" in told.stderr


@pytest.mark.parametrize(
    ("words", "at"),
    [("report done --out there", "sans.ttf"), ("compare done done --out c.csv", "c.csv")],
)
def test_a_disk_that_takes_no_more_is_told_with_its_place(words, at, here):
    finished_study(here / "runs")
    told = subprocess.run(
        [sys.executable, "-m", "gansearch", *words.split()],
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (50, 50)),
    )
    assert told.returncode == 2, told.stderr
    assert re.search(rf"cannot use \S*{at}: File too large", told.stderr)
    assert {path.name for path in here.iterdir()} == {"runs", "study.yaml"}


def test_a_report_that_cannot_lie_in_its_study_says_where_else(read_only):
    directory, run = read_only
    told = run("report", "done")
    assert told.returncode == 2, told.stderr
    assert f"cannot write in {directory}: Permission denied; take another --out" in told.stderr


def test_train_and_sample(here, command):
    Path("config.yaml").write_text(
        STUDY.replace("{int: [8, 16]}", "8")
        .replace("question: Does it run?\n", "")
        .partition("search")[0]
    )
    code, out, err = command("train", "config.yaml", "--out", "model", "--device", "cpu")
    assert code == 0
    assert [line[:7] for line in err.splitlines()] == ["step 2:", "step 4:"]
    assert out.splitlines()[0] == "model: completed"
    assert "gansearch sample model --out grid.png" in out
    code, out, err = command("sample", "model", "--n", "10", "--seed", "1", "--out", "grid.png")
    assert (code, out, err) == (0, "grid.png\n", "")
    assert Path("grid.png").read_bytes()[:4] == b"\x89PNG"
    long = Path("[lab]", "x" * 200, "grid.png")  # in brackets stands markup, and 160 columns are a line
    long.parent.mkdir(parents=True)
    code, out, err = command("sample", "model", "--n", "1", "--out", str(long))
    assert (code, out, err) == (0, f"{long}\n", "")
    for arguments, words in [
        (["--out", "grid.jpg"], "--out grid.jpg: must end in .png (a picture) or .npy"),
        (["--out", "grid"], "--out grid: must end in .png"),
        (["--out", "model"], "model is a folder: --out must name a .png or .npy file"),
        (["--out", "g.png", "--seed", "-1"], "the seed -1 must be a whole number from 0"),
        (["--out", "g.npy", "--seed", str(10**20)], f"the seed {10**20} must be"),
        (["--out", "g.png", "--n", "10001"], "10,001 images are too many for one picture"),
        (["--out", "g.npy", "--n", str(10**13)], "images do not fit into memory, at most"),
    ]:
        code, out, err = command("sample", "model", *arguments)
        assert (code, out) == (2, "")
        assert err.startswith(f"error: {words}") or words in err
        assert not list(Path().glob("g.*"))


def test_the_folder_of_an_export_stands_for_its_configuration(here, command):
    Path("model").mkdir()
    Path("model/config.yaml").write_text("ema: 2\n")
    for verb in (["train", "model", "--out", "again"], ["stability", "model"]):
        code, out, err = command(*verb)
        assert (code, out) == (2, "")
        assert err.startswith("error: model/config.yaml: 1 mistake\n  line 1, ema: must be ")
    finished_study(here / "runs")
    Path("model").rename("done")
    code, _, err = command("stability", "done", "--around", "3")
    assert (code, err[:19]) == (2, "error: --around 3: "), "the study of that name"


def test_ui_serves_the_study_and_ends_with_its_command(here):
    import signal
    import urllib.request

    finished_study(here / "runs")
    assert gansearch.sync("done") == 0, "MLflow has all of it"
    process = subprocess.Popen(
        [sys.executable, "-u", "-m", "gansearch", "ui", "done", "--port", "0"],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        base = process.stdout.readline().split()[-1]
        link = process.stdout.readline().split()[-1]
        assert base.startswith("http://127.0.0.1:")
        assert link.startswith(base)
        with urllib.request.urlopen(base, timeout=60) as page:
            assert page.status == 200
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 0
    finally:
        process.kill()
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(base, timeout=5)


def test_help_shows_every_word_of_its_texts():
    """Rich takes `[words]` for markup, and leaves them out; of a metavar it would double brackets."""
    group = get_command(cli.app)
    run, wide = CliRunner(), {"COLUMNS": "400"}
    for name, command in {"": group, **group.commands}.items():
        shown = run.invoke(cli.app, [*name.split(), "--help"], env=wide).output
        assert "[[" not in shown, name
        told = [command.help, *(p.help for p in command.params if not getattr(p, "hidden", False))]
        for text in filter(None, told):
            for line in filter(None, text.splitlines()):
                assert squeezed(line) in squeezed(shown), f"{name}: {line}"


def squeezed(text: str) -> str:
    """Without blanks and frames: where a line is broken is the terminal's affair."""
    return re.sub(r"[\s│╭╮╰╯─]+", "", text)


# What a finished study suggests


@pytest.mark.parametrize("phase", ["search", "stability"])
def test_a_study_of_which_nothing_has_a_value_suggests_to_look_why(phase, here):
    failed = [known.trial(4, outcome=Outcome.FAILED, value=None)]
    evidence = replace(known.study([]), **{phase: failed})
    study = StoredStudy(StudyDirectory(here / "runs" / "s"))
    seeds = " --seeds" if phase == "stability" else ""
    told = terminal.steps_after(study, evidence, Where(), confirmed=False)
    assert told == [f"gansearch logs s{seeds} --trial 4", "gansearch report s"]
    evidence = replace(evidence, **{phase: [*failed, known.trial(5)]})
    told = terminal.steps_after(study, evidence, Where(), confirmed=False)
    assert told[0] == "gansearch stability s --top 5 --seeds 10"
    assert told[-1] == "gansearch export s --out best"
    where = Where(address="auto", tracking="http://team:5000", data="my data")
    told = terminal.steps_after(study, evidence, where, confirmed=False)
    assert told[0].endswith(" --seeds 10 --address auto --data 'my data' --tracking http://team:5000")
    assert told[1] == "gansearch ui s --tracking http://team:5000"
    told = terminal.steps_after(study, evidence, Where(tracking="off"), confirmed=False)
    assert [line.split()[1] for line in told] == ["stability", "export"], "MLflow has nothing to show"
