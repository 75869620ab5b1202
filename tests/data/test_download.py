"""Missing data: one clear message, nothing left behind, one download for many processes."""

from __future__ import annotations

import socket
import sys
import threading
import time

import pytest

from gansearch.data.download import ensure
from gansearch.data.load import load
from gansearch.errors import DataError

FILES = ["Set/raw/one", "Set/raw/two"]


@pytest.fixture
def _offline(monkeypatch):
    def refuse(*_args, **_kwargs):
        raise OSError("the network is unreachable")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    for variable in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.delenv(variable, raising=False)


def fake_download(folder):
    for file in FILES:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_text("content")


@pytest.mark.usefixtures("_offline")
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("mnist", "MNIST/raw/ with train-images-idx3-ubyte"),
        ("fashion-mnist", "FashionMNIST/raw/ with train-images-idx3-ubyte"),
        ("cifar10", "cifar-10-batches-py/ with data_batch_1"),
    ],
)
def test_offline_says_where_it_looked_and_what_to_do(tmp_path, capfd, name, expected):
    root = tmp_path / "deep" / "root"
    with pytest.raises(DataError) as caught:
        load(name, {}, root=root, split="train")
    message = str(caught.value)
    for part in (f"'{name}'", str(root), expected, "--data DIR", "GANSEARCH_DATA", "unreachable"):
        assert part in message
    assert ("cifar-10-batches-bin" in message) == (name == "cifar10")
    assert len(message.splitlines()) <= 4
    assert not any(tmp_path.iterdir()), "the failed download left something behind"
    assert capfd.readouterr() == ("", "")


def test_a_failed_download_leaves_what_was_there(tmp_path):
    (tmp_path / "mine").write_text("keep")
    with pytest.raises(DataError, match="no luck"):
        ensure("set", tmp_path, FILES, lambda _: (_ for _ in ()).throw(OSError("no luck")))
    assert [file.name for file in tmp_path.iterdir()] == ["mine"]


def test_a_download_puts_all_files_in_place_quietly(tmp_path, capfd):
    def download(folder):
        print("100%")
        print("100%", file=sys.stderr)
        assert socket.getdefaulttimeout() is not None
        fake_download(folder)

    ensure("set", tmp_path / "root", FILES, download)
    assert all((tmp_path / "root" / file).read_text() == "content" for file in FILES)
    assert {p.name for p in (tmp_path / "root").iterdir()} <= {"Set", ".set.lock"}
    assert capfd.readouterr() == ("", "")
    assert socket.getdefaulttimeout() is None


def test_nothing_is_downloaded_twice_nor_where_it_is_not_needed(tmp_path):
    times = []

    def slow(folder):
        times.append(time.monotonic())
        time.sleep(0.2)
        fake_download(folder)

    threads = [threading.Thread(target=ensure, args=("set", tmp_path, FILES, slow)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ensure("set", tmp_path, FILES, slow)
    assert len(times) == 1


def test_a_half_there_set_is_completed(tmp_path):
    (tmp_path / FILES[0]).parent.mkdir(parents=True)
    (tmp_path / FILES[0]).write_text("half")
    ensure("set", tmp_path, FILES, fake_download)
    assert [(tmp_path / file).read_text() for file in FILES] == ["content", "content"]


def test_a_download_that_lacks_a_file_fails(tmp_path):
    with pytest.raises(DataError, match="cannot be downloaded"):
        ensure("set", tmp_path, [*FILES, "Set/raw/three"], fake_download)


def test_a_root_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="is not in"):
        ensure("set", tmp_path / "file" / "root", FILES, fake_download)
