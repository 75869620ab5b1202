"""What a search tries first: the default, configurations, exports, the best of earlier studies."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from gansearch.analysis.evidence import gather
from gansearch.analysis.tables import status, trials_table
from gansearch.errors import InvalidInput, UserError
from gansearch.journal.directory import StudyDirectory
from gansearch.journal.stored import StoredStudy
from gansearch.search.selection import select
from gansearch.search.start import Known
from gansearch.study.document import parse_document
from gansearch.study.plan import Stability, Start
from gansearch.study.records import Outcome
from gansearch.tracking.translate import translate
from gansearch.training.validation import read_study
from gansearch.tuning.creation import create
from studies import STUDY, best_of

NARROW = STUDY.replace("lr: {log: [1e-5, 1e-1]}", "lr: {log: [1e-3, 1e-1]}")
DEFAULT = {
    "generator.depth": 3,
    "loss": "hinge",
    "optimizer.generator.lr": 2e-4,
    "optimizer.discriminator.lr": 2e-4,
}
CONFIG = """
generator: {name: mlp, depth: 1, width: 16}
discriminator: {name: mlp, depth: 1, width: 16}
loss: {name: wasserstein, penalty: {name: gradient-penalty, weight: 10}}
optimizer: {generator: {lr: 1e-3}, discriminator: {lr: 1e-3}}
batch_size: 16
budget: {steps: 7, report_every: 7}
"""
POINT = {
    "generator.depth": 1,
    "loss": "wasserstein",
    "loss.wasserstein.penalty.weight": 10.0,
    "optimizer.generator.lr": 1e-3,
    "optimizer.discriminator.lr": 1e-3,
}


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """A folder with an export and a configuration file; not the one that is worked in."""
    (tmp_path / "best").mkdir()
    (tmp_path / "best" / "config.yaml").write_text(CONFIG)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def read(start: str, text: str = STUDY, beside: Path = Path(), runs: Path | None = None):
    key = "" if start == "unsaid" else f", start: {start}"
    text = text.replace("search: {trials: 8}", f"search: {{trials: 8{key}}}")
    known = Known(beside, runs, best=best_of)
    return read_study(parse_document(text, "s.yaml"), Path(), find=known)[0]


def names(spec):
    return [start.name for start in spec.start]


def mistakes(start: str, **how) -> list[str]:
    with pytest.raises(InvalidInput) as caught:
        read(start, **how)
    return [str(problem) for problem in caught.value.problems]


LOSSES = STUDY.replace("    - hinge\n", "    - hinge\n    - non-saturating\n")


def test_the_default_comes_first_unless_nothing_is_asked_for():
    for start in ("unsaid", "[default]"):
        spec = read(start, LOSSES)
        assert names(spec) == ["default"]
        assert spec.start[0].point == DEFAULT | {"loss": "non-saturating"}
    assert names(read("[]")) == []
    assert names(read("[best/config.yaml]", LOSSES)) == ["default", "best/config.yaml"]
    assert names(read("[best, default]", LOSSES)) == ["default", "best"]
    none = LOSSES.replace("search: {trials: 8}", "search: {trials: 0}\nstability: {top: 0, seeds: 2}")
    assert names(read("unsaid", none)) == []


def test_a_default_that_the_space_does_not_have_is_said_and_refused_where_it_is_asked_for():
    spec = read("unsaid", NARROW)
    assert (names(spec), spec.plan.search.start) == ([], [])
    assert spec.notes == (
        "the search does not begin with the default: loss is non-saturating, which is not in choice "
        "[hinge, wasserstein]; optimizer.generator.lr is 0.0002, which is not in log [0.001, 0.1]; "
        "optimizer.discriminator.lr is 0.0002, which is not in log [0.001, 0.1] (give the axis a "
        "`default` that can be, or say `start: []` under `search`)",
    )
    mended = NARROW.replace("1e-1]}", "1e-1], default: 0.01}").replace(
        "loss:\n", "loss:\n  default: hinge\n"
    )
    assert (names(read("unsaid", mended)), read("unsaid", mended).notes) == (["default"], ())
    assert read("[]", NARROW).notes == ()
    told = "default: optimizer.generator.lr is 0.0002, which is not in log [0.001, 0.1]"
    assert f"line 15, search.start[0]: {told}" in mistakes("[default]", text=NARROW)


def test_why_there_is_no_default_is_said(here, monkeypatch):
    """One that lacks what an axis gives to each trial, here: the loss has no margin of its own."""
    (here / "marginal.py").write_text(
        "class Marginal:\n"
        "    decision, g_uses_real = 0.0, False\n"
        "    def __init__(self, *, margin: float): self.margin = margin\n"
        "    def d(self, real, fake): return (fake - real + self.margin).mean()\n"
        "    def g(self, fake): return -fake.mean()\n"
    )
    monkeypatch.syspath_prepend(here)
    loss = "{name: 'marginal:Marginal', margin: {uniform: [0, 1]}}"
    text = LOSSES.replace("    - hinge\n", f"    - {loss}\n").replace(
        "loss:\n", "loss:\n  default: 'marginal:Marginal'\n"
    )
    (note,) = read("unsaid", text).notes
    assert note.startswith(
        "the search does not begin with the default: loss.margin: is required (give "
    )
    assert "search.start[0]: default: loss.margin: is required" in str(mistakes("[default]", text=text))
    mended = text.replace("[0, 1]}", "[0, 1], default: 0.5}")
    assert (names(read("unsaid", mended)), read("unsaid", mended).notes) == (["default"], ())


LATER = """
data: {name: digits}
generator: {name: mlp, depth: 1, width: 16, mixture: {choice: [2, 1]}, init: {choice: [normal, own]}}
discriminator: {name: mlp, depth: 1, width: 16, pack: {choice: [1, 2]}, augment: null}
loss:
  default: minimax
  choice:
    - {name: minimax, smoothing: {uniform: [0, 0.3]}, flipping: 0.0}
    - {name: wasserstein, penalty: {name: gradient-penalty, weight: 10, every: {int: [1, 4]}}}
optimizer:
  generator: {lr: {log: [1e-4, 1e-2]}, clip: {choice: [1.0, null]}}
  discriminator: {lr: {log: [1e-4, 1e-2]}}
batch_size: 16
search: {trials: 8}
"""


def test_what_was_added_later_has_its_default_where_it_is_not_written():
    """As it never is in configurations from before it, and seldom in those since."""
    spec = read("[best/config.yaml]", LATER)
    assert (names(spec), spec.notes) == (["default", "best/config.yaml"], ())
    default, best = (start.point for start in spec.start)
    shared = {"generator.mixture": 1, "generator.init": "own", "discriminator.pack": 1}
    shared["optimizer.generator.clip"] = None
    assert shared.items() <= default.items()
    assert shared.items() <= best.items()
    assert default["loss.minimax.smoothing"] == 0.0
    assert best["loss.wasserstein.penalty.every"] == 1
    packed = LATER.replace("pack: {choice: [1, 2]}", "pack: 2")
    assert "discriminator.pack is 1, and 2 in this study" in str(mistakes("[best]", text=packed))


def test_a_file_an_export_and_a_point_are_placed_in_the_space(here, monkeypatch):
    point = json.dumps({"name": "mine", "point": DEFAULT})
    spec = read(f"[best/config.yaml, {point}]")
    assert names(spec) == ["best/config.yaml", "mine"]
    assert spec.start[0].point == POINT
    assert read("[best]").start[0].point == POINT
    (here / "elsewhere").mkdir()
    monkeypatch.chdir(here / "elsewhere")
    assert read("[best]", beside=here).start[0].point == POINT  # seen from the study file


def test_sections_that_a_file_does_not_have_are_the_defaults(here):
    (here / "slow.yaml").write_text("optimizer: {generator: {lr: 1e-4}, discriminator: {lr: 1e-4}}")
    found = read("[slow.yaml]", LOSSES).start[1].point
    rates = {"optimizer.generator.lr": 1e-4, "optimizer.discriminator.lr": 1e-4}
    assert found == DEFAULT | {"loss": "non-saturating"} | rates


def test_what_is_there_twice_is_tried_once():
    (Path() / "copy.yaml").write_text(CONFIG)
    spec = read("[best, copy.yaml]")
    assert names(spec) == ["best"]
    assert "not tried twice: copy.yaml is the same as best" in spec.notes


def test_a_resolved_study_needs_neither_files_nor_studies():
    spec = read("[best]", LOSSES)
    again = read_study(parse_document(spec.to_yaml(), "s.yaml"), Path())[0]
    assert again == spec
    assert again.digest == spec.digest
    assert yaml.safe_load(spec.to_yaml())["search"]["start"] == [
        "default",
        {"name": "best", "point": POINT},
    ]


@pytest.mark.parametrize(
    ("start", "said"),
    [
        ("[nothing]", "there is no file 'nothing', and no export; the best trials of a study are "),
        ("[no/such.yaml]", "there is no file 'no/such.yaml', and no export"),
        ("[{study: a, point: {}}]", "needs one of config, study and point, not study and point"),
        ("[{}]", "needs one of config, study and point, not none of them"),
        ("[{config: best, top: 2}]", "top goes with study"),
        ("[{point: {}}]", "name goes with point, and a point needs one"),
        ("[{name: x, point: {}}]", "x: generator.depth is missing"),
        ("[{name: x, point: {lr: 1}}]", "x: lr is no axis of this study"),
        ("[far.yaml]", "far.yaml: optimizer.generator.lr is 0.5, which is not in log [1e-05, 0.1]"),
        ("[wide.yaml]", "wide.yaml: generator.width is 64, and 16 in this study"),
        ("[bad.yaml]", "bad.yaml: generator.depht: not an option of 'mlp' (did you mean 'depth'?)"),
        ("[study.yaml]", "study.yaml: it has search, so it is a study's file"),
        ("[broken.yaml]", "broken.yaml: "),
        ("[{study: gone, top: 2}]", "there is no study 'gone' in "),
        ("[[1]]", "needs text or a mapping of keys to values"),
        ("[null]", "needs text or a mapping of keys to values, not null"),
        (f"[{'x' * 5000}]", f"cannot look for '{'x' * 80}...': File name too long"),
        ("[{name: '', point: {}}]", "the name is '': it takes some text on one line"),
        ('[{name: "a\\nb", point: {}}]', "it takes some text on one line"),
    ],
)
def test_what_cannot_be_tried_is_refused_at_its_place(here, start, said):
    (here / "far.yaml").write_text(CONFIG.replace("{generator: {lr: 1e-3}", "{generator: {lr: 0.5}"))
    (here / "wide.yaml").write_text(CONFIG.replace("1, width: 16", "1, width: 64", 1))
    (here / "bad.yaml").write_text(CONFIG.replace("depth: 1, width: 16", "depht: 1, width: 16", 1))
    (here / "study.yaml").write_text(CONFIG + "search: {trials: 3}\n")
    (here / "broken.yaml").write_text("a: [")
    (found,) = mistakes(start, runs=here / "runs")
    assert found.startswith("line 15, search.start[0]"), found
    assert said in found


def test_what_is_named_like_a_file_is_taken_for_no_study():
    (told,) = mistakes("[no/such.yaml]")
    assert told.endswith("there is no file 'no/such.yaml', and no export")


def test_the_folder_of_a_study_is_told_how_a_study_is_said(tmp_path):
    (tmp_path / "runs" / "old").mkdir(parents=True)
    (tmp_path / "runs" / "old" / "study.yaml").write_text("question: What?\n")
    with pytest.raises(UserError, match=r"trials of a study are {study: runs/old, top: 1}"):
        Known(tmp_path)(Start(config="runs/old"))


def test_what_lies_where_the_study_runs_is_looked_for_there(here):
    """Without a folder of studies nothing here is: a study of that name, weights beside a file."""
    assert names(read("[{study: gone, top: 2}]")) == []
    (here / "best" / "g.safetensors").write_text("")
    text = CONFIG.replace("depth: 1, width: 16}", "depth: 1, width: 16, weights: g.safetensors}", 1)
    (here / "best" / "config.yaml").write_text(text)
    for runs, seen in ((None, "g.safetensors"), (here / "runs", "best/g.safetensors")):
        ((_, config),) = Known(here, runs)(Start(config="best"))
        assert config["generator"]["weights"].endswith(seen)
        assert config["generator"]["weights"].endswith("best/g.safetensors") == (runs is not None)


def test_more_start_points_than_trials_are_refused():
    some = [{"name": f"p{i}", "point": DEFAULT | {"generator.depth": i}} for i in (1, 2, 3)]
    text = STUDY.replace("trials: 8", "trials: 2")
    text = text.replace("trials: 2", f"trials: 2, start: {json.dumps(some)}")
    with pytest.raises(InvalidInput, match=r"3 start points, and search.trials is 2: ask for more"):
        read_study(parse_document(text, "s"), Path())
    spec = read(json.dumps(some))
    with pytest.raises(UserError, match="trials must be at least 3, not 2: the search begins with 3"):
        spec.with_trials(2)
    for none in (8.0, True, "8"):  # which were written into a study that could not be read again
        with pytest.raises(UserError, match="trials must be a whole number, not "):
            spec.with_trials(none)


@pytest.fixture
def searched(make_ledger, report, here):
    """A study that begins with two given points and is played to its end, the best last."""
    second = {"name": "mine", "point": DEFAULT}
    spec = read(f"[best, {json.dumps(second)}]")
    ledger = make_ledger(spec)
    for number in range(8):
        ledger.next()
        ledger.report(number, report(90, 10.0 - number, Outcome.COMPLETED))
        ledger.end(number)
    return spec, ledger, StoredStudy(StudyDirectory(here / "runs" / "study"))


def test_each_is_a_trial_like_any_other_and_named_as_what_it_is(searched):
    spec, ledger, study = searched
    first, second, third = (ledger.records[number] for number in range(3))
    assert (first.params, second.params) == (POINT, DEFAULT)
    assert [r.origin for r in (first, second, third)] == ["best", "mine", ""]
    assert ledger.source._view.trials[0].params == POINT  # the sampler has seen it
    evidence = gather(study)
    assert [trial["origin"] for trial in status(evidence)["trials"]][:3] == ["best", "mine", ""]
    table = trials_table(evidence.search, "fd_classifier", "min")
    assert table.loc[0, "origin"] == "best"
    assert translate(first).tags["gansearch.origin"] == "best"
    assert translate(first).name == "0000 best, completed"
    assert translate(third).name == "0002 completed"
    chosen = select(spec, evidence.search, Stability(top=8, default=False), "fd_classifier", "min")
    assert [each.label for each in chosen][-2:] == ["trial 1 (mine)", "trial 0 (best)"]


def test_a_resumed_search_goes_on_with_the_points_that_it_has_not_tried(make_ledger, here):
    spec = read("[best]", LOSSES)
    assert make_ledger(spec).next().origin == "default"
    (here / "best" / "config.yaml").unlink()
    stored = (here / "runs" / "study" / "study.yaml").read_text()
    resumed = make_ledger(read_study(parse_document(stored, "s.yaml"), Path())[0])
    assert [resumed.next().origin for _ in range(3)] == ["default", "best", ""]


def test_the_best_of_an_earlier_study(searched, here):
    spec = read("[{study: study, top: 2}]", runs=here / "runs")
    assert names(spec) == ["study trial 7", "study trial 6"]
    assert names(read("[{study: study}]", runs=here / "runs")) == ["study trial 7"]
    assert len(names(read("[{study: study, top: 8}]", runs=here / "runs"))) == 8
    (told,) = mistakes("[{study: study, top: 9}]", runs=here / "runs")
    assert "'study' has 8 configurations to begin with, not 9: with a value, but for" in told
    narrow = mistakes("[{study: study, top: 8}]", text=NARROW, runs=here / "runs")
    assert any("study trial 1: optimizer.generator.lr is 0.0002, which is" in line for line in narrow)


def test_the_default_among_the_best_is_the_default_that_is_trained_again(make_ledger, report):
    spec = read("unsaid", LOSSES)
    ledger = make_ledger(spec)
    ledger.next()
    ledger.report(0, report(90, 1.0, Outcome.COMPLETED))
    ledger.end(0)
    chosen = select(spec, list(ledger.records.values()), Stability(top=2), "fd_classifier", "min")
    assert [(each.label, each.kind, each.trial) for each in chosen][:1] == [("default", "default", 0)]
    assert len({each.digest for each in chosen}) == 1  # of the plan's default and of the trial


def test_a_study_of_before_begins_as_it_began(here):
    from gansearch.training.validation import load_study

    spec = read("unsaid", LOSSES)
    create(spec, StoredStudy(StudyDirectory(here / "runs" / "old")), None)
    file = here / "runs" / "old" / "study.yaml"
    tree = yaml.safe_load(file.read_text())
    del tree["search"]["start"]
    file.write_text(yaml.safe_dump(tree))
    assert names(load_study(file, Path(), launched=True)[0]) == []
    assert names(load_study(file, Path())[0]) == ["default"]  # run anew it is a study of today
