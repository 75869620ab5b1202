"""What a user is told of MLflow when a study ends, or is sent again."""

import io
import socket
import time

from rich.console import Console

from gansearch.files import place
from gansearch.study.records import Outcome
from gansearch.tuning.tracker import (
    close_tracker,
    is_sent,
    open_tracker,
    send_missing,
)

NOBODY = "http://127.0.0.1:9"
"""A server that is not there: the discard service's port, which nothing listens on."""

SYNC = "gansearch sync x"


def told(act):
    """What is said on a console that an action is given."""
    console = Console(file=io.StringIO(), width=40)
    result = act(console)
    return result, console.file.getvalue()


def trained(make_ledger, spec, report):
    ledger = make_ledger(spec("search: {trials: 1}"))
    number = ledger.next().number
    ledger.report(number, report(90, 1.0, Outcome.COMPLETED))
    ledger.end(number)
    ledger.close()
    return ledger


def test_what_mlflow_does_not_take_is_said_with_why_and_how_it_is_sent(make_ledger, spec, report):
    ledger = trained(make_ledger, spec, report)
    directory, journal = ledger.directory, ledger.journal
    runs = directory.path.parent

    def close(console):
        tracker = open_tracker(directory, journal, runs, NOBODY)
        tracker.submit(ledger.records[0])
        return close_tracker(tracker, console, SYNC, finished=False)

    for act in (close, lambda c: send_missing(directory, journal, runs, NOBODY, c, SYNC)):
        unsent, words = told(act)
        assert unsent == 1
        assert not is_sent(journal)
        words = words.splitlines()[-1]  # on a busy machine it is said before that MLflow is waited for
        assert words.startswith("MLflow does not have 1 trial yet (")
        assert "Connection refused" in words or "Max retries exceeded" in words
        assert words.endswith(f"`{SYNC}` sends what is missing")

    there = f"sqlite:///{place(runs) / 'there.db'}"
    assert told(lambda c: send_missing(directory, journal, runs, there, c, SYNC)) == (0, "")
    assert journal.trials()[0].mlflow_run_id
    assert is_sent(journal)
    journal.set_facts({"trials": 2})
    more = make_ledger(spec("search: {trials: 2}"))
    more.next()
    assert not is_sent(more.journal), "it has been asked for more"


def test_a_silent_server_is_said_to_be_waited_for(make_ledger, spec, report, monkeypatch):
    """It takes the connection, and never answers."""
    monkeypatch.setattr("gansearch.tracking.away.SECONDS", 2)
    ledger = trained(make_ledger, spec, report)
    directory, journal = ledger.directory, ledger.journal

    def close(console):
        tracker = open_tracker(directory, journal, directory.path.parent, uri)
        tracker.submit(ledger.records[0])
        return close_tracker(tracker, console, SYNC, finished=True)

    with socket.create_server(("127.0.0.1", 0)) as silent:
        uri = f"http://127.0.0.1:{silent.getsockname()[1]}"
        begun = time.monotonic()
        unsent, words = told(close)
    assert time.monotonic() - begun < 15
    assert unsent == 1
    waits = "MLflow has said nothing for 2 s, and is asked whether it is there"
    lacks = "MLflow does not have 1 trial yet (no answer within 2 s)"
    assert words.splitlines() == [
        f"{waits}; Ctrl-C leaves the rest to `{SYNC}`",
        f"{lacks}: `{SYNC}` sends what is missing",
    ]
