"""A cluster whose head dies by force under a driver: what the user hears, and that it goes on."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from processes import QUIET, cluster, finish, launch, reports, wait_for_reports

import gansearch
from gansearch.errors import UserError
from gansearch.tuning import head

STUDY = """
data: {name: digits}
generator: {name: mlp, depth: 1, width: 16}
discriminator: {name: mlp, depth: 1, width: 16}
optimizer: {generator: {lr: {log: [1e-4, 1e-1]}}}
batch_size: 32
budget: {steps: 4000, report_every: 100}
evaluation: {samples: 100, metrics: [fd_raw]}
objective: {metric: fd_raw}
search: {trials: 1}
pruner: none
"""


@pytest.mark.slow  # half a minute
@pytest.mark.timeout(400)
def test_a_driver_whose_head_died_by_force_ends_in_words_and_the_study_goes_on(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("study.yaml").write_text(STUDY)
    for name, said in {**QUIET, head.RECONNECTS: "9"}.items():
        monkeypatch.setenv(name, said)
    with cluster() as (address, family):
        driver = launch("run", "study.yaml", "--name", "s", "--address", address, "--tracking", "off")
        wait_for_reports("s", 3, driver)
        for name in ("gcs_server", "raylet"):
            family[name].kill()
        known, died = reports("s"), time.monotonic()
        code, _, err = finish(driver)
        assert time.monotonic() - died < 20
    assert code == 2, err
    assert f"the head of Ray at {address} does not answer; waiting for it, for 8 s at most" in err
    (line,) = [line for line in err.splitlines() if line.startswith("error: ")]
    assert re.match(f"error: the head of Ray at {address} has not answered for [0-9]+ s; ", line)
    again = f"gansearch resume s --address {address} --tracking off"
    kept = "every trial that has ended and every report so far is kept"
    assert line.endswith(f" s; stopped at once: {kept}; go on with `{again}`")
    assert "Traceback" not in err
    assert known <= reports("s") < 40
    code, _, err = finish(launch("resume", "s", "--tracking", "off"))
    assert code == 0, err
    assert list(gansearch.trials("s")["outcome"]) == ["completed"]
    assert [*gansearch.curves("s")["step"]] == [*range(100, 4001, 100)]


class Silent:
    """What takes connections and never answers, until it is told to; as gRPC does, then."""

    def __init__(self):
        self.answering = True
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self.listening.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            try:
                talk, _ = self.listening.accept()
            except OSError:
                return
            if self.answering:
                talk.sendall(bytes((0, 0, 0, head.SETTINGS, 0, 0, 0, 0, 0)))
                talk.close()
            else:
                self.held = talk


def test_a_head_that_is_silent_for_a_while_is_told_and_one_that_stays_so_is_left(monkeypatch):
    monkeypatch.setattr(head, "LOOK_EVERY", 0.05)
    monkeypatch.setattr(head, "PATIENCE", 0.1)
    monkeypatch.setenv(head.RECONNECTS, "3")
    there, told, left = Silent(), [], threading.Event()
    why = []
    with head.watched(there.address, told.append, lambda words: (why.append(words), left.set())):
        time.sleep(0.5)
        assert told == []
        there.answering = False
        _until(lambda: told)
        there.answering = True
        _until(lambda: len(told) == 2)
        there.answering = False
        assert left.wait(10)
    whose = f"the head of Ray at {there.address}"
    assert told[:2] == [
        f"{whose} does not answer; waiting for it, for 2 s at most",
        f"{whose} answers again",
    ]
    assert re.fullmatch(f"{re.escape(whose)} has not answered for [3-9] s", why[0])
    there.listening.close()


def test_a_head_that_takes_connections_and_is_silent_is_left_in_time(monkeypatch):
    monkeypatch.setattr(head, "LOOK_EVERY", 0.5)
    monkeypatch.setenv(head.RECONNECTS, "4")
    there, left, begun = Silent(), threading.Event(), time.monotonic()
    there.answering = False
    with head.watched(there.address, print, lambda _: left.set()):
        assert left.wait(10)
    assert 3.3 < time.monotonic() - begun < 4, "before Ray"
    there.listening.close()


WATCHES = """
import os, sys, time
from gansearch.tuning import head
head.LOOK_EVERY, head.PATIENCE = 0.05, 0.1
with head.watched(sys.argv[1], print, lambda words: (print(words, flush=True), os._exit(0))):
    print("watching", flush=True)
    time.sleep(60)
"""


def test_time_in_which_the_driver_stood_still_is_not_the_head_s():
    there, again = Silent(), {**os.environ, head.RECONNECTS: "3"}
    command = [sys.executable, "-c", WATCHES, there.address]
    with subprocess.Popen(command, env=again, stdout=subprocess.PIPE, text=True) as driver:
        assert driver.stdout.readline() == "watching\n"
        driver.send_signal(signal.SIGSTOP)
        time.sleep(4)
        there.answering = False
        driver.send_signal(signal.SIGCONT)
        begun = time.monotonic()
        driver.communicate(timeout=20)
        assert time.monotonic() - begun > 2
    there.listening.close()


def test_a_head_whose_driver_is_done_with_it_may_go(monkeypatch):
    monkeypatch.setattr(head, "LOOK_EVERY", 0.05)
    monkeypatch.setenv(head.RECONNECTS, "0.3")
    there, left = Silent(), []
    with head.watched(there.address, left.append, left.append):
        pass
    there.listening.close()
    time.sleep(1)
    assert left == []


def test_ray_s_own_setting_may_be_nonsense(monkeypatch):
    monkeypatch.setenv(head.RECONNECTS, "long")
    with pytest.raises(UserError, match=f"{head.RECONNECTS}=long"), head.watched("h:1", print, print):
        pass


def _until(true):
    deadline = time.monotonic() + 10
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)
