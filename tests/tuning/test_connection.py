"""What the environment says to the workers of a local Ray, and for how long; and what answers where a
cluster should.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from psutil import STATUS_ZOMBIE, Process

from gansearch.errors import ClusterError
from gansearch.tuning.connection import NICENESS, _for_workers, connected


@pytest.mark.parametrize(
    ("said", "asked", "is_so"),
    [(None, None, "0"), (None, 0, "0"), (None, 10, "10"), ("5", None, "5"), ("5", 0, "0")],
)
def test_how_nice_workers_are(monkeypatch, said, asked, is_so):
    monkeypatch.delenv(NICENESS, raising=False)
    if said is not None:
        monkeypatch.setenv(NICENESS, said)
    assert _for_workers([], asked)[NICENESS] == is_so


def test_workers_find_the_folder_one_works_in_and_modules(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}/known")
    module = tmp_path / "lib" / "parts.py"
    expected = os.pathsep.join([str(tmp_path), "/known", str(tmp_path / "lib")])
    assert _for_workers([module], None)["PYTHONPATH"] == expected


def test_a_second_study_of_a_notebook_is_not_as_nice_as_the_first(monkeypatch):
    """With a real Ray: what one study asked for said on how nice the next one was."""
    monkeypatch.delenv(NICENESS, raising=False)
    before = os.environ.get("PYTHONPATH")
    with connected(None, nice=10) as ray:
        asked = ray.remote(num_cpus=1)(lambda: os.nice(0))
        assert ray.get(asked.remote()) == 10
        family = [p for p in Process().children(recursive=True) if p.status() != STATUS_ZOMBIE]
        beside_us = {Path(word).name for process in family for word in process.cmdline()}
    assert NICENESS not in os.environ
    assert os.environ.get("PYTHONPATH") == before
    assert {"raylet", "gcs_server"} <= beside_us
    assert not {"monitor.py", "log_monitor.py", "dashboard.py"} & beside_us, "they would be idle"
    node = ray._private.node.Node
    assert node.start_monitor.__name__ == "start_monitor", "of the user's own Ray we take nothing away"


def test_a_folder_whose_name_is_too_long_for_ray_is_told_with_the_mend(monkeypatch, tmp_path):
    """Such as that of a job on a cluster of many users."""
    long = tmp_path / ("a" * 60)
    long.mkdir()
    monkeypatch.setenv("RAY_TMPDIR", str(long))
    told = pytest.raises(ClusterError, match=r"cannot connect to a local Ray.*RAY_TMPDIR=/tmp")
    with told, connected(None):
        pass


OURS = "127.0.0.2"
"""For 127.0.0.1 Ray takes the machine's own address, on which nothing of these tests is to listen."""


@pytest.fixture
def listening():
    """Begins to listen on a port, and treats whoever connects as it is told; gives the port."""
    opened: list[socket.socket] = []

    def listen(treat: Callable[[socket.socket], object]) -> int:
        listener = socket.create_server((OURS, 0))
        opened.append(listener)

        def serve() -> None:
            try:
                while True:
                    opened.append(listener.accept()[0])
                    treat(opened[-1])
            except OSError:
                return

        threading.Thread(target=serve, daemon=True).start()
        return listener.getsockname()[1]

    yield listen
    for each in opened:
        each.close()


def refuse(taken: socket.socket) -> None:
    taken.recv(1000)
    taken.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
    taken.close()


def refused(address: str) -> tuple[str, float]:
    """What is said of an address where there is no cluster, and how many seconds that takes."""
    import ray  # noqa: F401  whose import takes longer than the rest

    begun = time.monotonic()
    with pytest.raises(ClusterError) as caught, connected(address):
        pass
    return str(caught.value), time.monotonic() - begun


def test_a_port_on_which_nothing_listens_is_told_at_once():
    with socket.create_server((OURS, 0)) as once:
        port = once.getsockname()[1]
    told, seconds = refused(f"{OURS}:{port}")
    assert told.startswith(
        f"no Ray cluster answers at {OURS}:{port} (Connection refused): `ray status`"
    )
    assert seconds < 5, "Ray asks for forty"


@pytest.mark.parametrize(
    ("treat", "words"),
    [
        (refuse, "what answers at {} is no Ray cluster: "),
        (socket.socket.fileno, "nothing answers at {}: "),
    ],
)
def test_a_port_of_something_else_than_ray_is_told_in_seconds(listening, treat, words):
    at = f"{OURS}:{listening(treat)}"
    told, seconds = refused(at)
    assert told.startswith(words.format(at))
    assert seconds < 10, "Ray asks for forty"


@pytest.mark.parametrize("address", [OURS, "bla bla", f"{OURS}:x", f"{OURS}:99999", f"{OURS}:0"])
def test_what_can_be_no_address_of_a_cluster_is_told_with_its_form(address):
    told, _ = refused(address)
    assert told == (
        f"'{address}' is no address of a Ray cluster: say its head's HOST:PORT, or auto on its nodes"
    )


def test_a_dashboard_s_address_is_told_where_it_serves():
    told, _ = refused("http://127.0.0.1:8265")
    assert told.endswith("(a dashboard's, http://..., is for `submit` and `resume`)")


def test_one_thread_at_a_time():
    """Or else the first to end would close the other's connection."""
    there, enough = threading.Event(), threading.Event()

    def study():
        with connected(None):
            there.set()
            enough.wait()

    thread = threading.Thread(target=study)
    thread.start()
    try:
        assert there.wait(60)
        with pytest.raises(ClusterError, match="another thread of this process"), connected(None):
            pass
    finally:
        enough.set()
        thread.join()
    with connected(None) as ray, connected(None) as same:
        assert same is ray
