"""Where files are: named, refused, written whole, read back; on disk, and in a store that speaks S3."""

from __future__ import annotations

import math
import os
import resource
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
from upath import UPath

from gansearch import files
from gansearch.errors import StudyError, UserError
from gansearch.journal.directory import StudyDirectory


@pytest.fixture(params=["disk", "object store"])
def folder(request, tmp_path):
    if request.param == "disk":
        return tmp_path / "a"
    return files.place(request.getfixturevalue("bucket")) / "a"


@pytest.fixture
def away(object_store, monkeypatch):
    """While the `with` lasts, at most so many seconds, the store does not answer."""
    monkeypatch.setattr("s3fs.S3FileSystem.retries", 1)

    @contextmanager
    def away(seconds=math.inf):
        object_store._port = object_store.get_host_and_port()[1]
        object_store.stop()
        back = threading.Timer(min(seconds, 100), object_store.start)
        back.start()
        yield
        if seconds < math.inf:
            back.join()
        else:
            back.cancel()
            object_store.start()

    return away


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("s3://bucket", "s3://bucket/"),
        ("s3://bucket/runs", "s3://bucket/runs"),
        ("S3://bucket//runs/", "s3://bucket/runs"),
        ("s3://bucket/a b/ü", "s3://bucket/a b/ü"),
    ],
)
def test_a_uri_names_a_place_in_a_store(text, name):
    place = files.place(text)
    assert isinstance(place, UPath)
    assert str(place) == name
    assert files.place(place) == place, "its text says all of it"
    assert files.place(str(place / "x")) == place / "x"


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("runs", "runs"),
        ("/a b/runs", "/a b/runs"),
        ("file:///a%20b/runs", "/a b/runs"),
        ("a:b", "a:b"),
        ("c:/x", "c:/x"),
    ],
)
def test_anything_else_is_a_path(text, path):
    assert files.place(text) == Path(path)
    assert files.place(Path(path)) == Path(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("s3://key:secret@bucket/runs", "must hold no key, secret or token"),
        ("s3://key:sec/secret@bucket/runs", "must hold no key, secret or token"),
        ("s3://bucket/runs?X-Amz-Signature=secret", "must hold no key, secret or token"),
        ("az://container/runs?sig=secret", "must hold no key, secret or token"),
        ("s3://bucket/../runs", "no place in an object store"),
        ("s3://bucket/runs/..", "no place in an object store"),
        ("s3://../runs", "no place in an object store"),
        ("s3://", "no place in an object store"),
        ("s3:///runs", "no place in an object store"),
        ("s3://bucket/runs#x", "no place in an object store"),
        ("s3:/bucket/runs", r"write s3://BUCKET/FOLDER"),
        ("ftp://me:secret@host/runs", "give a folder, or a URI that begins with s3://"),
        ("memory://runs", "give a folder, or a URI that begins with s3://"),
        ("http://host/runs", "give a folder, or a URI that begins with s3://"),
    ],
)
def test_what_is_no_place_is_refused_without_a_secret_in_the_message(text, message):
    with pytest.raises(UserError, match=message) as refused:
        files.place(text)
    assert "secret@" not in str(refused.value)
    assert "=secret" not in str(refused.value)


@pytest.mark.parametrize(
    ("uri", "mend"),
    [
        ("s3://bucket/runs", r"needs s3fs: pip install 'gansearch\[s3\]'"),
        ("gs://bucket/runs", r"needs gcsfs: pip install 'gansearch\[gcs\]'"),
        ("abfss://container@account.dfs.core.windows.net/x", r"needs adlfs: pip install .*\[azure\]"),
    ],
)
def test_a_driver_that_is_missing_is_named(uri, mend, monkeypatch):
    monkeypatch.setattr(files, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=mend):
        files.place(uri)


def test_a_file_comes_whole_and_goes(folder):
    path = folder / "b" / "x.txt"
    files.write(path, "one\r\n")
    with files.writing(path) as file:
        file.write(b"\0two")
        assert files.read(path) == b"one\r\n", "until the new one is whole, the old one is there"
    assert files.read(path) == b"\0two"
    with files.reading(path) as file:
        assert file.read(1) == b"\0"
        assert file.seek(0) == 0
    with files.local_copy(path) as copy:
        assert copy.name == "x.txt"
        assert copy.read_bytes() == b"\0two"
    files.remove(path)
    files.remove(path)
    with pytest.raises(FileNotFoundError):
        files.read(path)


def test_a_write_that_fails_leaves_what_was_there_and_nothing_else(folder):
    path = folder / "x.txt"
    files.write(path, "one")

    def fail():
        with files.writing(path) as file:
            file.write(b"half")
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert files.read(path) == b"one"
    assert [found.name for found in folder.iterdir()] == ["x.txt"]


def test_what_another_process_wrote_is_seen_at_once(folder):
    files.write(folder / "step-1.pt", b"")
    files.write(folder / "other.txt", b"")
    assert [path.name for path in files.find(folder, "step-*.pt")] == ["step-1.pt"]
    assert {path.name for path in folder.iterdir()} == {"step-1.pt", "other.txt"}
    code = (
        "import sys; from gansearch import files;"
        "files.write(files.place(sys.argv[1]) / 'step-2.pt', b'');"
        "files.remove(files.place(sys.argv[1]) / 'step-1.pt')"
    )
    subprocess.run([sys.executable, "-c", code, str(folder)], check=True)
    assert [path.name for path in files.find(folder, "step-*.pt")] == ["step-2.pt"]
    assert {path.name for path in folder.iterdir()} == {"step-2.pt", "other.txt"}
    assert files.find(folder / "none", "*") == []


def test_what_cannot_be_written_in_is_refused(tmp_path, object_store, bucket):
    files.check_writable(files.place(bucket) / "new")
    assert list(files.place(bucket).iterdir()) == [], "the trial left nothing"
    with pytest.raises(UserError, match=r"cannot use s3://no-such-bucket/runs: .* not exist"):
        files.check_writable(files.place("s3://no-such-bucket/runs"))
    files.check_writable(tmp_path / "new" / "er")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="file is a file: take another --runs-dir"):
        files.check_writable(tmp_path / "file" / "x")


def test_only_a_disk_holds_what_is_told_to_be_elsewhere(tmp_path, bucket):
    assert files.on_disk(tmp_path, "a journal", "say") == tmp_path
    with pytest.raises(UserError, match=r"in an object store, which cannot hold a journal: say so"):
        files.on_disk(files.place(bucket), "a journal", "say so")


def test_a_store_that_is_away_for_a_while_is_waited_for(bucket, away, caplog):
    place = files.place(bucket) / "x"
    with away(1.5):
        files.write(place, b"1")
    assert "once more in 1 s" in caplog.text
    assert files.read(place) == b"1"


@pytest.mark.parametrize("nowhere", [None, 3, ["a"], "a\0b"])
def test_what_can_be_no_place_is_refused(nowhere):
    """And no folder called None is made."""
    with pytest.raises(UserError, match=r"must be a path or its text|no path can be"):
        files.place(nowhere)


def test_a_store_that_stays_away_is_an_os_error_with_its_place(bucket, away, monkeypatch):
    monkeypatch.setattr(files, "PATIENCE", 0.0)
    place = files.place(bucket) / "x"
    with away():
        with pytest.raises(OSError, match=rf"{place}: EndpointConnectionError"):
            files.write(place, b"1")
        with pytest.raises(UserError, match=r"cannot use s3://.*: EndpointConnectionError"):
            files.check_writable(place)
    files.write(place, b"1")


def test_a_refusal_is_not_asked_again(bucket):
    begun = time.monotonic()
    with pytest.raises(FileNotFoundError):
        files.write(files.place("s3://no-such-bucket/x"), b"1")
    with pytest.raises(FileNotFoundError):
        files.read(files.place(bucket) / "nothing")
    assert time.monotonic() - begun < 1


def test_a_full_disk_is_told_and_the_part_is_gone(tmp_path, monkeypatch):
    def full(file):
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        files.write(tmp_path / "x", b"1")
    assert list(tmp_path.iterdir()) == []


def test_what_lies_in_the_way_of_a_file_is_told_by_its_name(tmp_path):
    (tmp_path / "trials.csv").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(IsADirectoryError) as caught:
        files.write(tmp_path / "trials.csv", "x")
    assert (caught.value.filename, caught.value.filename2) == (str(tmp_path / "trials.csv"), None)
    with pytest.raises(NotADirectoryError) as caught:
        files.write(tmp_path / "file" / "x.csv", "x")
    assert caught.value.filename == str(tmp_path / "file")
    assert {path.name for path in tmp_path.iterdir()} == {"trials.csv", "file"}


def test_what_may_not_be_looked_into_is_told_by_its_name(tmp_path):
    (tmp_path / "s" / "study.yaml").mkdir(parents=True)
    (tmp_path / "s" / "journal.log").write_text('{"user_attr": {"study": "question: x"}}\n')
    with pytest.raises(StudyError, match=r"cannot look for a study 's': .*study\.yaml: Is a directory"):
        StudyDirectory.find("s", tmp_path)


# A folder that is not finished


def test_a_full_disk_is_told_by_the_name_that_the_folder_was_to_have(tmp_path):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with (
            pytest.raises(OSError, match="File too large") as caught,
            files.unfinished(tmp_path / "best") as part,
        ):
            (part / "x").write_bytes(b"x" * 2000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert caught.value.filename == str(tmp_path / "best")
    assert list(tmp_path.iterdir()) == []


def test_two_unfinished_folders_of_one_name_are_apart(tmp_path):
    with files.unfinished(tmp_path / "a" / "best") as one, files.unfinished(tmp_path / "a/best") as two:
        assert one != two
        assert one.parent == two.parent == tmp_path / "a"
        (one / "x").write_text("x")
        one.rename(tmp_path / "a" / "best")
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["best"]


def test_what_a_killed_maker_left_goes_and_what_another_makes_stays(tmp_path):
    long_ago = time.time() - 10 * files.ABANDONED
    with files.unfinished(tmp_path / "best") as one:
        (one / "x").write_text("x")
        left = one.with_name(one.name[:-1] + "-")
        left.mkdir()
        other = tmp_path / ".better.part-0"
        other.mkdir()
        for folder in (one, left, other):
            os.utime(folder, (long_ago, long_ago))
        new = one.with_name(one.name[:-1] + "+")
        new.mkdir()
        with files.unfinished(tmp_path / "best"):
            assert (one / "x").exists(), "its maker is at work"
            assert not left.exists()
            assert other.exists(), "it is of another name"
            assert new.exists(), "its maker has only just begun"


HELD = """
import sys
from pathlib import Path
from gansearch import files
with files.temporary(Path(sys.argv[1]), "own-") as folder:
    print(folder, flush=True)
    sys.stdin.read()
"""


def test_a_temporary_folder_is_held_by_who_lives_and_not_known_by_a_process_id(tmp_path):
    """In a container of its own process ids no other seems to live."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    command = [sys.executable, "-c", HELD, str(tmp_path)]
    makers = [subprocess.Popen(command, **pipes) for _ in range(2)]
    try:
        killed, living = (Path(maker.stdout.readline().strip()) for maker in makers)
        makers[0].kill()
        makers[0].wait()
        for folder in (killed, living):
            os.utime(folder, (0, 0))
        with files.temporary(tmp_path, "own-", 0o700) as mine:
            assert set(tmp_path.iterdir()) == {living, mine}
            assert mine.stat().st_mode & 0o777 == 0o700
        makers[1].communicate("")
        assert list(tmp_path.iterdir()) == []
    finally:
        for maker in makers:
            maker.kill()
            maker.communicate()
