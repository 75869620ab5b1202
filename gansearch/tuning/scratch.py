"""The folder that Ray Tune wants for itself, and those that killed drivers have left."""

from __future__ import annotations

import os
import re
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

_PREFIX = "gansearch-tune-"


@contextmanager
def scratch() -> Iterator[str]:
    """A temporary folder, gone at the end; folders of dead drivers go at the beginning."""
    remove_leftovers()
    mine = f"{_PREFIX}{_host()}-{os.getpid()}-"
    with tempfile.TemporaryDirectory(prefix=mine, ignore_cleanup_errors=True) as folder:
        yield folder


def remove_leftovers() -> None:
    """Remove the folders of this machine's drivers that were killed before they could."""
    # The host is in the name because containers may share a /tmp and not their process ids.
    named = re.compile(rf"{re.escape(f'{_PREFIX}{_host()}-')}(\d+)-")
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        match = named.match(folder.name)
        if match and not psutil.pid_exists(int(match[1])):
            shutil.rmtree(folder, ignore_errors=True)


def _host() -> str:
    return re.sub(r"[^A-Za-z0-9.]+", "_", socket.gethostname()) or "host"
