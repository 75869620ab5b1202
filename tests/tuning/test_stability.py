"""Configurations trained again on fresh seeds: on a real Ray, killed for real."""

import json
import os
import signal

import pytest
import yaml
from processes import launch, wait_for_reports

import gansearch
from gansearch.errors import InvalidInput, StudyError, UserError
from gansearch.journal.directory import StudyDirectory
from gansearch.journal.journal import Journal
from gansearch.journal.stored import StoredStudy
from gansearch.search.proposer import Proposer
from gansearch.search.selection import of_trial
from gansearch.study.records import Outcome, Report
from gansearch.study.roster import Roster
from gansearch.tuning.connection import connected
from gansearch.tuning.creation import create
from gansearch.tuning.launch import FILE_SERVED, is_finished

STUDY = """
question: Does it keep working?
data: {name: digits}
generator: {name: mlp, depth: 1, width: 16}
discriminator: {name: mlp, depth: 1, width: 16}
loss: {choice: [hinge, non-saturating]}
optimizer: {generator: {lr: {log: [1e-4, 1e-2]}}}
batch_size: 32
budget: {steps: 900, report_every: 100}
evaluation: {samples: 100, metrics: [fd_classifier]}
search: {trials: 3, sampler: random}
stability: {top: 1, seeds: 3}
resources: {lanes: 1}
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "study.yaml").write_text(STUDY)
    return tmp_path


@pytest.fixture(scope="module")
def ray():
    """One Ray for all the studies of this process."""
    with connected(None) as ray:
        yield ray


def seeds(name):
    """What every seed came to, but for what depends on the clock."""
    return [
        (r.configuration, r.config["seed"], r.outcome, r.best("fd_classifier", "min"), r.step)
        for r in gansearch.evidence(name).stability
    ]


def without_speed(found):
    return [
        (*head, best and {k: v for k, v in best.metrics.items() if k != "images_per_second"}, step)
        for *head, best, step in found
    ]


@pytest.mark.timeout(600)
def test_a_stability_study_killed_and_resumed_is_the_one_never_killed(folder, ray, command):
    search = {"trials": 2, "sampler": "random", "start": []}  # else the default is the best
    study = yaml.safe_load(STUDY) | {"budget": {"steps": 240, "report_every": 60}, "search": search}
    (folder / "study.yaml").write_text(yaml.safe_dump(study))
    assert gansearch.run("study.yaml", name="whole", tracking="off", concurrency=1).finished
    arguments = ("study.yaml", "--concurrency", "1", "--tracking", "off", "--name", "killed")
    process = launch("run", *arguments)
    wait_for_reports("killed/stability", 6, process)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    state = gansearch.status("killed")
    assert state["state"] == "interrupted"
    assert state["stability"]["planned"] == 6
    code, out, err = command("resume", "killed", "--concurrency", "1", "--tracking", "off")
    assert code == 0, err
    assert "gansearch report killed" in out
    assert without_speed(seeds("killed")) == without_speed(seeds("whole"))
    assert gansearch.status("killed")["state"] == "finished"

    found = gansearch.evidence("whole")
    searched = {record.config["seed"] for record in found.search}
    used = [seed for _, seed in found.roster.entries]
    assert len({*used} | searched) == 6 + 2, "every seed is fresh, and no two are alike"
    assert {record.config["seed"] for record in found.stability} == {*used}
    assert {record.outcome for record in found.stability} == {"completed"}, "nothing is pruned"
    kinds = [candidate.kind for candidate in found.roster.candidates]
    assert kinds == ["search", "default"]
    assert found.roster["default"].config["optimizer"]["generator"]["lr"] == 2e-4


@pytest.mark.timeout(600)
def test_a_study_is_confirmed_later_extended_and_exported_by_what_was_confirmed(folder, ray):
    alone = {"concurrency": 1}  # a second worker takes longer to start than all of this
    fast = {"budget.steps": 200, "search.trials": 4, "stability": None}
    study = gansearch.load_study("study.yaml", overrides=fast)
    result = gansearch.run(study, name="s", tracking="off", **alone)
    assert len(result.configurations) == 0
    with pytest.raises(UserError, match="--seeds"):
        gansearch.stability("s", seeds=0)
    with pytest.raises(UserError, match="between 0 and 1"):
        gansearch.stability("s", around=1.5)
    result = gansearch.stability("s", top=2, seeds=2, **alone)
    assert list(result.configurations["seeds"]) == [2, 2, 2]
    before = gansearch.evidence("s")
    assert all(record.mlflow_run_id for record in before.search), "MLflow is sent the search, too"
    result = gansearch.stability("s", top=2, seeds=3, default=False, **alone)
    after = gansearch.evidence("s")
    assert after.stability[:6] == before.stability, "what has run stays"
    assert sorted(result.configurations["seeds"]) == [2, 3, 3]
    again = gansearch.stability("s", top=2, seeds=3, default=False, **alone)
    assert len(gansearch.evidence("s").stability) == 8, "there was nothing left to do"
    assert again.configurations.equals(result.configurations)

    best = str(result.configurations.index[0])
    gansearch.stability("s", around=0.5, seeds=1, of=best, **alone)
    neighbours = [c for c in gansearch.evidence("s").roster.candidates if c.kind == "around"]
    rate = before.roster[best].config["optimizer"]["generator"]["lr"]
    if best != "default":
        assert {c.axis for c in neighbours} == {"optimizer.generator.lr"}
    moved = {
        c.factor: c.config["optimizer"]["generator"]["lr"]
        for c in neighbours
        if c.axis == "optimizer.generator.lr"
    }
    assert moved == pytest.approx({f: rate * f for f in (0.5, 0.75, 1.25, 1.5)})
    with pytest.raises(UserError, match="no trial and no configuration"):
        gansearch.stability("s", around=0.5, of="trial 99")
    with pytest.raises(UserError, match=r"did you mean 'optimizer.generator.lr'"):
        gansearch.stability("s", around=0.5, of=1, axes=["optimizer.generator.rl"])

    (exported,) = gansearch.export("s", "best")
    model = json.loads((exported / "model.json").read_text())
    confirmed = model["confirmed"]
    assert model["configuration"] == best
    assert confirmed["success_rate"]["value"] == 1.0
    row = result.configurations.loc[best]
    assert confirmed["iqm"]["value"] == pytest.approx(row["iqm"], rel=0.2)
    values = [
        r.best("fd_classifier", "min").value
        for r in gansearch.evidence("s").stability
        if r.configuration == best
    ]
    assert model["value"] == min(values)
    assert {int(seed) for seed in confirmed["seeds"]} == {*gansearch.evidence("s").roster.seeds(best)}
    (searched,) = gansearch.export("s", "lucky", searched=True)
    assert "partly luck" in json.loads((searched / "model.json").read_text())["evidence"]

    assert gansearch.report("s").unsent == ""
    assert (folder / "runs/s/report/report.html").stat().st_size < 10e6


@pytest.mark.timeout(300)
def test_configuration_files_make_a_study_of_their_own(folder, ray):
    base = yaml.safe_load(STUDY) | {
        "loss": "hinge",
        "optimizer": {},
        "budget": {"steps": 90, "report_every": 45},
    }
    for key in ("question", "search", "stability", "resources"):
        del base[key]
    for name, rate in (("slow", 1e-4), ("fast", 1e-3)):
        rates = {"generator": {"lr": rate}, "discriminator": {"lr": rate}}
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(base | {"optimizer": rates}))
    (folder / "other.yaml").write_text(
        yaml.safe_dump(base | {"budget": {"steps": 60, "report_every": 45}})
    )
    with pytest.raises(InvalidInput, match=r"other, budget.steps: is 60, and slow has 90"):
        gansearch.stability("slow.yaml", "other.yaml")
    overrides = {"budget.report_every": 30}
    result = gansearch.stability(
        "slow.yaml", "fast.yaml", seeds=2, overrides=overrides, name="two", concurrency=1
    )
    assert sorted(result.configurations.index) == ["fast", "slow"]
    assert len(result.trials) == 0
    found = gansearch.evidence("two")
    assert {record.step for record in found.stability} == {90}
    assert len(found.stability[0].reports) == 3
    assert found.roster["fast"].config["optimizer"]["generator"]["lr"] == 1e-3
    with pytest.raises(StudyError, match="exists already"):
        gansearch.stability("slow.yaml", "fast.yaml", seeds=2, overrides=overrides, name="two")
    assert gansearch.resume("two").finished


def test_mistakes_are_told_before_anything_is_created(folder, command):
    code, out, err = command("stability", "nope", "study.yaml")
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert not (folder / "runs").exists()


def test_a_study_whose_file_asks_for_more_than_has_run_is_not_finished(spec, tmp_path):
    """A driver may die between the search's end and what comes after it."""
    asked = spec("search: {trials: 1}\nstability: {top: 1, seeds: 2}")
    directory = StudyDirectory(tmp_path / "runs" / "s")
    study = StoredStudy(directory)
    create(asked, study, None)
    journal = Journal.open(directory.path, "s", writer=True)
    record = Proposer(asked, journal).propose(0)
    journal.report(0, Report(10, 160, 1.0, {"fd_classifier": 1.0}, 0.0))
    journal.end(journal.trials()[0], Outcome.COMPLETED)
    assert journal.finished
    assert not is_finished(study, journal), "nothing is trained again yet"
    roster = Roster().extended([of_trial(record)], 1, 0)
    again = journal.create_stability(directory.stability.path, roster, {})
    again.begin(0, {}, {}, record.config, "trial 0")
    again.end(again.trials()[0], Outcome.COMPLETED)
    assert again.finished
    assert not is_finished(study, journal), "the file asks for two seeds, and the default"
    again.study.set_user_attr(FILE_SERVED, True)
    assert is_finished(study, journal)
