"""Journals that something has been at: whatever that was, a reader has all of it or a sentence."""

from __future__ import annotations

import json
import random
import shutil

import pytest
from optuna.distributions import FloatDistribution

from gansearch.analysis.evidence import gather
from gansearch.analysis.tables import status, trials_table
from gansearch.errors import UserError
from gansearch.journal.directory import JOURNAL_FILE, StudyDirectory
from gansearch.journal.journal import Journal
from gansearch.journal.repair import repair
from gansearch.journal.stored import StoredStudy
from gansearch.study.config import trial_seed
from gansearch.study.records import Outcome, Report
from gansearch.study.roster import Candidate, Roster

ODD = [None, True, -1, 3, 2**70, 1.5, float("nan"), float("inf"), "", "x", "\ud800", [], [1], {}]
STUDY = "generator: {name: mlp, depth: {int: [1, 3]}}\nsearch: {trials: 3}\nresources: {cpus: 1}\n"


@pytest.fixture(scope="module")
def genuine(tmp_path_factory):
    """A study of three trials, of which one is trained again."""
    folder = tmp_path_factory.mktemp("genuine") / "s"
    (folder / "stability").mkdir(parents=True)
    (folder / "study.yaml").write_text(STUDY)
    facts = {"metric": "fd", "goal": "min", "steps": 20, "report_every": 10, "trials": 3, "id": "i"}
    search = Journal.create(folder, "s", facts | {"digest": "d", "question": "Why?", "study": STUDY})
    config = {"loss": {"name": "hinge", "penalty": None}, "generator": {"name": "mlp", "depth": 2}}
    candidate = Candidate("trial 0", "search", config, trial=0, params={"generator.depth": 2})
    roster = Roster((candidate,), (("trial 0", 11),))
    again = search.create_stability(folder / "stability", roster, {})
    for journal, count, label in ((search, 3, ""), (again, 1, "trial 0")):
        for number in range(count):
            seed = 11 if label else trial_seed(0, number)
            axes = {"lr": FloatDistribution(0, 1)}
            journal.begin(number, {"lr": 0.5}, axes, config | {"seed": seed}, label)
            journal.note(number, provenance={"fd": {"features": None}})
            for step in (10, 20):
                metrics = {"fd": 1 / (step + number), "x": float("nan")}
                journal.report(number, Report(step, step, 0.1 * step, metrics, 1.7e9))
            if number != 1:
                journal.end(journal.trials()[number], Outcome.COMPLETED, "so")
        journal.flush()
    return folder


def places(tree, above=()):
    """The place of each value in a tree."""
    if above:
        yield above
    for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree):
        if isinstance(value, dict | list):
            yield from places(value, (*above, key))
        else:
            yield (*above, key)


def spoil(lines, chance):
    """Do something to lines of a journal."""
    at = chance.randrange(len(lines))
    kind = chance.choice(["cut", "swap", "again", "gone", "value", "value", "value", "key", "name"])
    if kind == "cut":
        lines[at] = lines[at][: chance.randrange(len(lines[at]))] + chance.choice(["", "\n"])
    elif kind == "swap":
        other = min(at + chance.choice([1, 1, 5]), len(lines) - 1)
        lines[at], lines[other] = lines[other], lines[at]
    elif kind == "again":
        lines.insert(chance.randrange(at, len(lines)) + 1, lines[at])
    elif kind == "gone":
        del lines[at]
    elif lines[at].startswith("{") and lines[at].endswith("}\n"):
        log = json.loads(lines[at])
        *above, last = chance.choice(list(places(log)))
        node = log
        for key in above:
            node = node[key]
        if kind == "value":
            node[last] = chance.choice(ODD)
        elif isinstance(node, dict):
            value = node.pop(last)
            if kind == "name":
                node["novel"] = value
        lines[at] = json.dumps(log) + "\n"


def look(folder):
    """What `status`, `trials` and a driver that begins ask; a sentence, or "" where all can be read."""
    study = StoredStudy(StudyDirectory(folder))
    try:
        evidence = gather(study)
        status(evidence)
        str(trials_table(evidence.search, evidence.metric, evidence.goal)).encode()
        for journal in (search := study.journal(writer=True), study.stability(search, writer=True)):
            if journal is not None:
                journal.settle()
                journal.finished, journal.planned, journal.wants_stability  # noqa: B018
    except UserError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("start", range(0, 400, 40))
def test_a_spoilt_journal_is_read_or_told_and_so_is_what_is_repaired_of_it(genuine, tmp_path, start):
    for seed in range(start, start + 40):
        chance = random.Random(seed)
        folder = tmp_path / str(seed) / "s"
        shutil.copytree(genuine, folder)
        file = folder / chance.choice(["", "", "stability"]) / JOURNAL_FILE
        lines = file.read_text().splitlines(keepends=True)
        for _ in range(chance.choice([1, 1, 2, 3])):
            spoil(lines, chance)
        file.write_text("".join(lines))
        told = look(folder)
        try:
            done = repair(file)
        except UserError:
            assert told
            continue
        assert look(folder) == "" or not done.damages, (seed, told, done)
