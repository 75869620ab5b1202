"""The head of Ray, watched by a thread while a driver needs it.

Where it has died, the driver's next call waits in Ray's own code, which hears no signal, until Ray
(2.60) ends the whole process after a minute, with a line of its log. So the thread ends it a little
earlier, in words; what a journal has is on the disk, as after any other death.
"""

from __future__ import annotations

import os
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from gansearch.errors import ClusterError, seconds_of

PATIENCE = 5.0
"""Seconds that a cluster's head has to take a connection, and again to answer."""

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))
"""What gRPC begins with: that of HTTP/2, and empty SETTINGS (RFC 9113, 3.4)."""

SETTINGS = 4
"""The kind of the frame with which HTTP/2 answers, the fourth byte of it."""

HEAD_S = (
    "`ray status` on the head tells whether it runs; its port is 6379 where `ray start` was told none"
)

LOOK_EVERY = 2.0
"""Seconds between two looks at whether it answers. It may have died right after it did, when Ray began
to wait for it, and so that is where the time begins.
"""

LEAST = 1.0
"""Seconds that a look may take, however little time is left."""

RECONNECTS = "RAY_gcs_rpc_server_reconnect_timeout_s"
"""Ray's setting, in the environment: how long it waits for a head to come back."""

TOLD_AFTER, LEFT_AFTER = 1 / 6, 5 / 6
"""The parts of that time after which the user is told that it is away, and the driver ends."""


def place_of(address: str) -> tuple[str, int] | None:
    """The host and the port of an address, HOST:PORT; None where it is none."""
    found = re.fullmatch(r"\[?([^\s\]]+)\]?:(\d{1,5})", address)
    return (found[1], int(found[2])) if found and 0 < int(found[2]) < 1 << 16 else None


def check_answers(address: str, host: str, port: int, patience: float = PATIENCE) -> None:
    """Raise `ClusterError` where nothing listens, or what does speaks another protocol than Ray's;
    after twice its `patience` at most, in seconds.
    """
    at = "" if address == f"{host}:{port}" else f" (as '{address}' says)"
    try:
        with socket.create_connection((host, port), timeout=patience) as talk:
            if os.environ.get("RAY_USE_TLS", "0") not in ("", "0"):  # which begins with a handshake
                return
            talk.sendall(PREFACE)
            answer = b""
            while len(answer) < 4 and (more := talk.recv(4 - len(answer))):
                answer += more
    except OSError as error:
        answers = "nothing answers" if isinstance(error, TimeoutError) else "no Ray cluster answers"
        why = "" if isinstance(error, TimeoutError) else f" ({error.strerror or error})"
        raise ClusterError(f"{answers} at {host}:{port}{at}{why}: {HEAD_S}") from error
    if answer[3:] != bytes((SETTINGS,)):
        raise ClusterError(f"what answers at {host}:{port}{at} is no Ray cluster: {HEAD_S}")


@contextmanager
def watched(address: str, tell: Callable[[str], None], leave: Callable[[str], None]) -> Iterator[None]:
    """Have a head watched from a thread while it is open.

    Args:
        address: of the head, HOST:PORT.
        tell: says in a line that it is away, or back.
        leave: ends the process, with why.
    """
    ended, place = threading.Event(), place_of(address)
    patience = seconds_of(RECONNECTS, 60.0)
    if place is not None:
        task = (place, patience, ended, tell, leave)
        threading.Thread(target=_watch, args=task, name="gansearch-head", daemon=True).start()
    try:
        yield
    finally:
        ended.set()


def _watch(
    place: tuple[str, int],
    patience: float,
    ended: threading.Event,
    tell: Callable[[str], None],
    leave: Callable[[str], None],
) -> None:
    head, told = f"the head of Ray at {place[0]}:{place[1]}", False
    most = LEFT_AFTER * patience
    answered = looked = time.monotonic()
    while True:
        left = max(answered + most - time.monotonic(), 0.0)
        wait = min(LOOK_EVERY, left)
        if ended.wait(wait):
            return
        begun = time.monotonic()
        # Where this process stood still (Ctrl-Z, a machine that was paused), the head may not have.
        answered = min(answered + max(begun - looked - wait - 2 * PATIENCE, 0.0), begun)
        looked = begun
        if _answers(place, min(PATIENCE, max(left - wait, LEAST) / 2)):
            if told:
                tell(f"{head} answers again")
            answered, told = begun, False
            continue
        away = time.monotonic() - answered
        if away >= most and not ended.is_set():
            leave(f"{head} has not answered for {away:.0f} s")
            return
        if away > TOLD_AFTER * patience and not told:
            tell(f"{head} does not answer; waiting for it, for {most:.0f} s at most")
            told = True


def _answers(place: tuple[str, int], patience: float) -> bool:
    try:
        check_answers("", *place, patience)
    except ClusterError:
        return False
    return True
