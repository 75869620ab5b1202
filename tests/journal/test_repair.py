"""Damaged journals: told by line, and repaired with all that can be read, every trial at its number."""

from __future__ import annotations

import json
import re

import pytest
from optuna.distributions import FloatDistribution
from optuna.storages.journal._storage import JournalOperation

from gansearch.cli import main
from gansearch.errors import StorageError, StudyError
from gansearch.journal.directory import JOURNAL_FILE
from gansearch.journal.journal import Journal
from gansearch.journal.repair import explain, repair
from gansearch.study.config import trial_seed
from gansearch.study.records import Outcome, Report
from gansearch.study.roster import Candidate, Roster

FACTS = {
    "metric": "fd",
    "goal": "min",
    "steps": 100,
    "trials": 4,
    "digest": "d",
    "report_every": 10,
    "question": "",
    "id": "i",
    "study": "search: {trials: 4, seed: 7}\n",
}


@pytest.fixture
def path(tmp_path):
    """A journal of four trials: two begin one right after the other, all report, three end."""
    journal = Journal.create(tmp_path, "s", FACTS)
    axes = {"lr": FloatDistribution(1e-5, 1e-1, log=True)}
    for numbers in ([0], [1, 2], [3]):
        for number in numbers:
            config = {"loss": {"name": "hinge"}, "seed": trial_seed(7, number)}
            journal.begin(number, {"lr": 10 ** -(number + 1.0)}, axes, config)
        for number in numbers:
            for step in (10, 20):
                journal.report(number, Report(step, step, 1.0, {"fd": number + 1 / step}, 1.7e9))
    for record in journal.trials()[:3]:
        journal.end(record, Outcome.COMPLETED)
    journal.flush()
    return tmp_path / JOURNAL_FILE


def lines_of(path):
    return path.read_bytes().splitlines(keepends=True)


def put(path, lines):
    path.write_bytes(b"".join(lines))


def records(path):
    return Journal.open(path.parent, "s").trials()


def number_of_lines(path):
    return len(path.read_bytes().splitlines())


@pytest.mark.parametrize(
    "garbage", [b"\x00\xff\xfe\n", b"garbage\n", b'{"op_code": 4, "tr\n', b"null\n", b"[1]\n"]
)
def test_a_damaged_line_is_told_with_its_number_and_the_mend(path, garbage):
    lines = lines_of(path)
    put(path, [*lines[:12], garbage, *lines[12:]])
    with pytest.raises(StorageError, match=r"(?s)line 13: .*`gansearch repair .*` keeps all"):
        Journal.open(path.parent, "s")


@pytest.mark.parametrize(
    ("damaged", "more"), [(5, ""), (6, "\n  and 1 more line"), (7, "\n  and 2 more lines")]
)
def test_five_damaged_lines_are_told_and_how_many_more(path, damaged, more):
    put(path, [*lines_of(path), *[b"lost\n"] * damaged])
    told = explain(path, "s")
    assert told.count("cannot be read: ") == 5
    assert told.endswith(
        f"lost'{more}\n  `gansearch repair s` keeps all that can be read, and the "
        "damaged file beside it"
    )


def test_an_intact_journal_is_left_alone(path):
    before = path.read_bytes()
    assert explain(path, "s") is None
    done = repair(path)
    assert not done.damages
    assert done.original is None
    assert path.read_bytes() == before
    assert done.kept == number_of_lines(path)


@pytest.mark.parametrize("kind", ["blank", "glued", "garbage before it", "garbage between"])
def test_where_every_record_can_be_read_nothing_is_lost(path, kind):
    before, lines = records(path), lines_of(path)
    for at in range(len(lines) - 1):
        damaged = list(lines)
        if kind == "blank":
            damaged.insert(at, b"  \n")
        elif kind == "glued":
            damaged[at] = damaged[at].rstrip(b"\n")
        elif kind == "garbage before it":
            damaged[at] = b'{"op_code":8,"trial' + damaged[at]
        else:
            damaged.insert(at, b"?\n")
        put(path, damaged)
        assert explain(path, "s"), at
        done = repair(path)
        assert not done.lost_trials, at
        (damage,) = done.damages
        assert damage.lost == kind.startswith("garbage"), "of garbage nobody knows what it was"
        assert records(path) == before, at
        assert done.original.read_bytes() == b"".join(damaged)
        done.original.unlink()


def test_a_lost_record_costs_no_more_than_itself_and_no_trial_its_number(path):
    before, lines = records(path), lines_of(path)
    for at, line in enumerate(lines):
        log = json.loads(line)
        if "trial_id" not in log and log["op_code"] != JournalOperation.CREATE_TRIAL:
            continue
        put(path, [*lines[:at], b"lost\n", *lines[at + 1 :]])
        done = repair(path)
        assert [d.line for d in done.damages] == [at + 1]
        after = records(path)
        begun = sum(json.loads(each)["op_code"] == JournalOperation.CREATE_TRIAL for each in lines[:at])
        touched = log.get("trial_id", begun)
        assert [r for r in after if r.number != touched] == [
            r for r in before if r.number != touched
        ], at
        if log["op_code"] == JournalOperation.CREATE_TRIAL:
            assert done.lost_trials == [touched]
            lost = after[touched]
            assert (lost.outcome, lost.blameless, lost.params) == (Outcome.FAILED, True, {})
            assert f"line {at + 1}" in lost.reason
            assert lost.config["seed"] == trial_seed(7, touched)
        else:
            assert not done.lost_trials
            assert after[touched].params == before[touched].params
        done.original.unlink()


def test_a_repaired_journal_is_gone_on_with(path):
    lines = lines_of(path)
    put(path, [*lines[:-3], b"lost\n", *lines[-2:]])
    repair(path)
    journal = Journal.open(path.parent, "s", writer=True)
    unfinished = [record for record in journal.trials() if not record.outcome.ended]
    for record in unfinished:
        journal.end(journal.reopen(record), Outcome.COMPLETED)
    assert journal.finished


def test_what_would_be_done_can_be_asked_first(path):
    put(path, [b"lost\n", *lines_of(path)])
    before = path.read_bytes()
    done = repair(path, write=False)
    assert [str(damage) for damage in done.damages] == ["line 1: cannot be read: 'lost'"]
    assert path.read_bytes() == before
    assert [each.name for each in path.parent.iterdir()] == [path.name]


def test_a_journal_that_no_longer_knows_its_study_cannot_be_repaired(path):
    lines = lines_of(path)
    for lost, what in ((0, "the line that begins it"), (1, "metric")):
        damaged = list(lines)
        damaged[lost] = b"lost\n"
        put(path, damaged)
        with pytest.raises(StudyError, match=f"cannot be repaired.*{what}"):
            repair(path)
        assert path.read_bytes() == b"".join(damaged)


@pytest.fixture
def seeds(path):
    """The search's journal, and the journal of a stability study of three trials."""
    search = Journal.open(path.parent, "s", writer=True)
    config = {"loss": {"name": "hinge"}}
    candidates = tuple(Candidate(label, "search", config) for label in ("a", "b"))
    roster = Roster(candidates, (("a", 11), ("b", 12), ("a", 13)))
    journal = search.create_stability(path.parent / "stability", roster, {})
    for number, (label, seed) in enumerate(roster.entries):
        journal.begin(number, {}, {}, config | {"seed": seed}, label)
    journal.flush()
    return search, path.parent / "stability" / JOURNAL_FILE


def lose(file, *lost):
    """Have these lines of a journal be lost, by what they hold."""
    lines = lines_of(file)
    put(file, [b"lost\n" if any(each in line for each in lost) else line for line in lines])


def test_of_a_stability_study_the_roster_tells_the_numbers(seeds):
    search, file = seeds
    lose(file, b'"seed":12')
    assert repair(file).lost_trials == [1]
    trials = search.open_stability(file.parent).trials()
    assert [(t.configuration, t.config["seed"]) for t in trials] == [("a", 11), ("b", 12), ("a", 13)]


@pytest.mark.parametrize("lost", [[b'"roster"'], [b'"roster"', b'"seed":12']])
def test_a_stability_study_without_its_roster_cannot_be_repaired(seeds, lost):
    _, file = seeds
    lose(file, *lost)
    before = file.read_bytes()
    with pytest.raises(StudyError, match=r"which configurations.*known of 0 of its [23] trials"):
        repair(file)
    assert file.read_bytes() == before


def test_a_seed_that_only_a_lost_roster_knew_cannot_be_repaired(seeds):
    search, file = seeds
    journal = search.open_stability(file.parent, writer=True)
    config = {"loss": {"name": "hinge"}}
    grown = Roster(journal.roster.candidates, (*journal.roster.entries, ("b", 14), ("a", 15)))
    journal.extend(grown)
    for number, (label, seed) in list(enumerate(grown.entries))[3:]:
        journal.begin(number, {}, {}, config | {"seed": seed}, label)
    journal.report(4, Report(10, 10, 1.0, {"fd": 1.0}, 1.7e9))
    journal.flush()
    lose(file, b'["b",14]', b'"seed":14', b'"seed":15')
    with pytest.raises(StudyError, match="known of 3 of its 5 trials"):
        repair(file)


def test_the_command_shows_what_is_lost_and_the_study_goes_on(path, capsys, monkeypatch):
    folder = path.parent.rename(path.parent.with_name("hurt"))
    (folder / "study.yaml").write_text(FACTS["study"])
    path = folder / JOURNAL_FILE
    put(path, [*lines_of(path)[:-2], b"lost\n"])
    options = ["hurt", "--runs-dir", str(folder.parent)]
    monkeypatch.setattr("sys.argv", ["gansearch", "status", *options])
    with pytest.raises(SystemExit) as exit_:
        main()
    assert exit_.value.code == 2
    assert f"gansearch repair {folder}`" in capsys.readouterr().err, (
        "it is in no folder that is meant unasked"
    )
    for extra in (["--dry-run"], []):
        monkeypatch.setattr("sys.argv", ["gansearch", "repair", *options, *extra])
        with pytest.raises(SystemExit) as exit_:
            main()
        assert exit_.value.code == 0
        assert "cannot be read: 'lost'" in capsys.readouterr().out
    assert explain(path, "hurt") is None
    assert path.with_name(JOURNAL_FILE + ".damaged").exists()


def test_a_beginning_that_stands_twice_is_told_and_taken_out(path):
    before, lines = records(path), lines_of(path)
    begins = [n for n, line in enumerate(lines) if b'"op_code":4' in line]
    for first in begins:
        for again in (first + 1, len(lines)):
            put(path, [*lines[:again], lines[first], *lines[again:]])
            with pytest.raises(StorageError, match=rf"line {again + 1}: is the beginning of .* again"):
                Journal.open(path.parent, "s")
            done = repair(path)
            assert [damage.line for damage in done.damages] == [again + 1]
            assert not done.lost_trials
            assert records(path) == before


@pytest.mark.parametrize("old", [False, True], ids=["numbered", "as version 0.1.0 wrote it"])
@pytest.mark.parametrize("gone", [{0}, {1}, {2}, {3}, {1, 2}])
def test_a_beginning_that_is_deleted_outright_is_told_and_shifts_no_number(path, gone, old):
    before, lines = records(path), lines_of(path)
    if old:
        lines = [re.sub(rb',"number":\d+', b"", line) for line in lines]
    begins = [n for n, line in enumerate(lines) if b'"op_code":4' in line]
    put(path, [line for n, line in enumerate(lines) if n not in {begins[one] for one in gone}])
    with pytest.raises(StorageError, match="is damaged") as told:
        records(path)
    assert "repair" in str(told.value)
    done = repair(path)
    after = records(path)
    assert done.lost_trials == sorted(gone)
    for number, record in enumerate(after):
        if number in gone:
            assert (record.outcome, record.blameless) == (Outcome.FAILED, True)
            assert record.config["seed"] == trial_seed(7, number)
        else:
            assert record == before[number]


def test_a_beginning_that_is_gone_is_told_by_the_next_also_where_no_record_is_strange(path):
    lines = lines_of(path)
    begins = [n for n, line in enumerate(lines) if b'"op_code":4' in line]
    kept = [line for n, line in enumerate(lines[: begins[2] + 1]) if n != begins[1]]
    put(path, kept)
    with pytest.raises(StorageError, match=rf"line {begins[2]}: .* 2, and that of trial 1 is gone"):
        records(path)
    assert repair(path).lost_trials == [1]
    assert [record.config["seed"] for record in records(path)] == [trial_seed(7, n) for n in range(3)]


@pytest.fixture
def mixed(path):
    """The journal of a stability study whose trials began in another order than the roster's."""
    search = Journal.open(path.parent, "s", writer=True)
    config = {"loss": {"name": "hinge"}}
    candidates = tuple(Candidate(label, "search", config | {"x": label}) for label in "ab")
    roster = Roster(candidates, (("a", 11), ("b", 12), ("a", 13), ("b", 14)))
    journal = search.create_stability(path.parent / "stability", roster, {})
    for number, (label, seed) in enumerate([("a", 11), ("a", 13), ("b", 12), ("b", 14)]):
        journal.begin(number, {}, {}, config | {"seed": seed}, label)
    journal.flush()
    return search, path.parent / "stability" / JOURNAL_FILE


@pytest.mark.parametrize("how", ["damaged", "deleted"])
def test_seeds_that_began_in_another_order_than_the_rosters_keep_their_numbers(mixed, how):
    search, file = mixed
    lines = lines_of(file)
    at = next(n for n, line in enumerate(lines) if b'"seed":13' in line and b'"op_code":4' in line)
    put(file, [*lines[:at], *([b"lost\n"] if how == "damaged" else []), *lines[at + 1 :]])
    with pytest.raises(StorageError, match="is damaged"):
        search.open_stability(file.parent).trials()
    assert repair(file).lost_trials == [1]
    trials = search.open_stability(file.parent).trials()
    assert [(t.configuration, t.config["seed"]) for t in trials] == [
        ("a", 11),
        ("a", 13),
        ("b", 12),
        ("b", 14),
    ]


def test_what_is_lost_of_a_journal_whose_seeds_are_in_any_order_invents_no_trials(mixed):
    search, file = mixed
    lines = [re.sub(rb',"number":\d+', b"", line) for line in lines_of(file)]
    begins = [n for n, line in enumerate(lines) if b'"op_code":4' in line]
    put(file, [*lines[: begins[1]], b"lost\n", *lines[begins[1] :]])
    assert not repair(file).lost_trials
    trials = search.open_stability(file.parent).trials()
    assert [t.config["seed"] for t in trials] == [11, 13, 12, 14]


def test_lines_that_have_become_one_hold_what_they_held_also_after_a_lost_one(path):
    before, lines = records(path), lines_of(path)
    glued = b"".join(line.rstrip(b"\n") for line in lines[1:])
    put(path, [lines[0], b"lost\n", glued + b"\n"])
    done = repair(path)
    assert not done.lost_trials
    assert records(path) == before


@pytest.mark.parametrize("key", ["worker_id", "user_attrs"])
def test_a_beginning_that_lacks_what_each_must_have_is_a_lost_one(path, key):
    lines = lines_of(path)
    at = next(n for n, line in enumerate(lines) if b'"op_code":4' in line)
    log = json.loads(lines[at])
    del log[key]
    put(path, [*lines[:at], json.dumps(log).encode() + b"\n", *lines[at + 1 :]])
    with pytest.raises(StorageError, match=rf"line {at + 1}: is no record .* lacks {key}"):
        Journal.open(path.parent, "s")
    assert repair(path).lost_trials == [0]
    assert [record.outcome for record in records(path)][:2] == [Outcome.FAILED, Outcome.COMPLETED]


def test_a_roster_that_is_none_is_a_lost_one(seeds):
    _, file = seeds
    logs = [json.loads(line) for line in lines_of(file)]
    (roster,) = [log for log in logs if "roster" in log.get("user_attr", {})]
    roster["user_attr"]["roster"] = None
    put(file, [json.dumps(log).encode() + b"\n" for log in logs])
    with pytest.raises(StudyError, match="which configurations it trains is lost"):
        repair(file)
