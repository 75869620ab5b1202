"""Which files lie below a folder: the images among them, and what is passed over and why."""

from __future__ import annotations

import os
import re
import stat
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from PIL import Image, ImageFile

CLUTTER = {"thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r", "__macosx"}
"""What operating systems leave in folders of images."""

NOT_HERE = re.compile(r"\.(avif|hei[cf]|jxl|exr|hdr|cr2|cr3|nef|arw|dng|raw|dcm)")
"""Suffixes of photos that an installed Pillow may be unable to read."""

DRAWINGS = {"EPS", "MPEG"}
"""Formats that Pillow opens and cannot decode by itself: outside programs or no decoder at all."""


@dataclass
class Walk:
    """What lies below a folder.

    Attributes:
        images: files with the suffix of an image, relative to the folder, sorted.
        passed: why files are passed over, and how many for each reason.
        wrong: what cannot be read: folders without permission, links to nothing.
    """

    images: list[Path] = field(default_factory=list)
    passed: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    @property
    def passed_over(self) -> str:
        """The reasons, the commonest first; empty where nothing was passed over."""
        ranked = sorted(self.passed.items(), key=lambda item: (-item[1], item[0]))
        told = [f"{count:,} {why}" for why, count in ranked[:8]]
        rest = sum(count for _, count in ranked[8:])
        return ", ".join(told + ([f"{rest:,} of other kinds"] if rest else []))


def walk(folder: Path) -> Walk:
    """All files below a folder. Links are followed; no folder is read twice.

    Folders that lie in the tree are read first and linked ones afterwards, so that a link to a
    folder of the same tree changes nothing, and the same image never stands in two classes.
    """
    found = Walk()
    top = os.path.realpath(folder)
    seen = {top}
    folders, links = [Path()], list[Path]()
    while folders or links:
        if folders:
            here = folders.pop()
        else:
            links.sort(reverse=True)
            here = links.pop()
            why = _not_again(folder / here, top, seen)
            if why:
                found.passed[why] += 1
                continue
        seen.add(os.path.realpath(folder / here))
        for entry in _entries(folder, here, found):
            _sort(entry, here / entry.name, found, folders, links)
    found.images.sort()
    found.wrong.sort()
    return found


def shown(name: object) -> str:
    """A file's name as it can be printed: control characters and foreign bytes are escaped."""
    text = str(name).encode("utf-8", "backslashreplace").decode()
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _not_again(link: Path, top: str, seen: set[str]) -> str:
    target, place = os.path.realpath(link), os.path.realpath(link.parent)
    if any(Path(below).is_relative_to(target) for below in (top, place)):
        return "links to a folder that they lie in"
    return "links to folders read already" if target in seen else ""


def _entries(folder: Path, here: Path, found: Walk) -> Iterator[os.DirEntry[str]]:
    try:
        with os.scandir(folder / here) as entries:
            yield from entries
    except OSError as error:
        found.wrong.append(f"{shown(here)}/: {_words(error)}")


def _sort(
    entry: os.DirEntry[str], name: Path, found: Walk, folders: list[Path], links: list[Path]
) -> None:
    """Put an entry of a folder where it belongs."""
    if entry.name.lower() in CLUTTER:
        found.passed[f"left by the system ({shown(entry.name)})"] += 1
    elif entry.name.startswith("."):
        found.passed["hidden"] += 1
    else:
        try:
            mode = entry.stat().st_mode
        except OSError as error:  # a link to nothing or to itself, or no permission
            if entry.is_symlink() and not _suffixes(entry.name) & _readable():
                found.passed["links to nothing"] += 1
            else:
                found.wrong.append(f"{shown(name)}: {_words(error, entry.is_symlink())}")
            return
        if stat.S_ISDIR(mode):
            (links if entry.is_symlink() else folders).append(name)
        elif not stat.S_ISREG(mode):
            found.passed["neither files nor folders (pipes, sockets, devices)"] += 1
        elif _suffixes(entry.name) & _readable():
            found.images.append(name)
        else:
            found.passed[_kind(entry.name)] += 1


def _suffixes(name: str) -> set[str]:
    return {Path(name).suffix.lower()}


def _kind(name: str) -> str:
    suffix = shown(Path(name).suffix.lower())
    if not suffix:
        return "without a suffix"
    if NOT_HERE.fullmatch(suffix):
        return f"{suffix} (Pillow does not read it here: convert to PNG or JPEG)"
    return suffix if len(suffix) <= 12 else "with long suffixes"


def _words(error: OSError, link: bool = False) -> str:
    if link and isinstance(error, FileNotFoundError):
        return "a link to nothing"
    return (error.strerror or str(error)).lower()


@cache
def _readable() -> frozenset[str]:
    """Suffixes of formats that Pillow decodes by itself. HDF5, GRIB, ... are stubs for plug-ins."""
    known = Image.registered_extensions()
    formats = {kind for kind, (opener, _) in Image.OPEN.items() if not _is_stub(opener)} - DRAWINGS
    return frozenset(suffix for suffix, kind in known.items() if kind in formats)


def _is_stub(opener: object) -> bool:
    return isinstance(opener, type) and issubclass(opener, ImageFile.StubImageFile)
