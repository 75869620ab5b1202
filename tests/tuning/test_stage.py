"""What is said before trials are run."""

from __future__ import annotations

import io

from rich.console import Console

from gansearch.analysis.evidence import gather
from gansearch.data.domain import Images
from gansearch.journal.facts import APART
from gansearch.journal.stored import StoredStudy
from gansearch.study.roster import Candidate, Roster
from gansearch.tuning import stage as module
from gansearch.tuning.saying import say


def test_any_name_can_be_said():
    """Also on a terminal of UTF-8, which takes no half of a character."""
    said = io.BytesIO()
    console = Console(file=io.TextIOWrapper(said, encoding="utf-8", write_through=True), width=200)
    say(console, "out/\udcff.png")
    assert said.getvalue() == b"out/\\udcff.png\n"


def test_which_phase_runs_alone_is_said(make_ledger, spec, where):
    asked = spec(
        "generator: {name: mlp, depth: 1, width: 16, mixture: 2, diversity: 0.5}\n"
        "resources: {lanes: 4}\n"
    )
    search = make_ledger(asked).journal
    study = StoredStudy(make_ledger(asked).directory)
    candidate = Candidate("x", "given", asked.example().plain())
    seeds = study.create_stability(search, Roster((candidate,), (("x", 1),)), {})
    console = Console(file=io.StringIO(), width=200)
    stage = module.Stage(None, asked, study, where, None, Images((1, 8, 8)), None, console)
    for journal in (search, seeds):
        module._tell_apart(stage, journal)
    assert console.file.getvalue().splitlines() == [
        "in the search: runs alone, because of generator.diversity",
        "in the stability study: runs alone, because of generator.diversity",
    ]
    assert gather(study).apart == ["runs alone, because of generator.diversity"]
    seeds.set_facts({APART: ["runs alone, because of generator.freeze"]})
    assert gather(study).apart == [
        "in the search: runs alone, because of generator.diversity",
        "in the stability study: runs alone, because of generator.freeze",
    ]
