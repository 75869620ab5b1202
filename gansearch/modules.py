"""The user's own modules, which a study names as `my_losses:Tempered`: found, sent along, kept with it.

Every node of a cluster needs them, by Ray's `py_modules` or a job's working folder; and so does whoever
resumes the study somewhere else, for whom a copy lies in its directory; and whoever is given an export.
There they are a stranger's code, and are imported only by those who say that they trust it.
"""

from __future__ import annotations

import importlib.util
import re
import sys
import sysconfig
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from gansearch import files
from gansearch.errors import UserError
from gansearch.files import Place

_PART = re.compile(r"([A-Za-z_]\w*)(?:\.\w+)*:[A-Za-z_][\w.]*")


def own_modules(tree: Any) -> list[Path]:
    """The user's own packages and files among the `module:Thing` that a study names.

    What is installed on this machine must be installed on the cluster too: it does not travel.
    """
    return [path for name in _named(tree) if (path := _source(name)) and not _is_installed(path)]


def _named(tree: Any) -> list[str]:
    """The packages and modules of the parts that are named otherwise than by a short name."""
    names = {found[1] for text in _texts(tree) if (found := _PART.fullmatch(text))} - {"gansearch"}
    return sorted(names)


CARRIED = "modules"
"""The folder of an export in which they lie."""


@contextmanager
def carried(folder: Path, tree: Any, *, trust: bool) -> Iterator[list[Path]]:
    """What an export carries can be imported, where that is needed and trusted.

    What can be imported anyway goes before what is carried.

    Args:
        folder: the export.
        tree: what is to be built of it: the parts that it names are looked for.
        trust: whether code from there may run.

    Yields:
        The modules that are carried and in use.

    Raises:
        UserError: there is such code, it is needed, and it is not trusted.
    """
    there = folder / CARRIED
    lacking = [name for name in _named(tree) if _source(name) is None]
    found = [name for name in lacking if (there / name).is_dir() or (there / f"{name}.py").is_file()]
    if not found:
        yield []
        return
    if not trust:
        names = ", ".join(found)
        raise UserError(
            f"{folder} needs {names}, code of whoever made it, which lies in {there} and is not run "
            "unasked: look at it, then say --trust; or put it where Python finds it"
        )
    with kept(there) as modules:
        yield modules


def existing(module: str | Path) -> Path:
    """The absolute path of a package's folder or a .py file; raises `UserError` for anything else."""
    path = Path(module).absolute()
    if not (path.is_dir() or (path.is_file() and path.suffix == ".py")):
        raise UserError(f"{module} is neither the folder of a package nor a .py file")
    return path


def keep(modules: Sequence[Path], folder: Place) -> None:
    """Copy modules into a folder, in place of what it has of them."""
    for module in modules:
        if module.is_file():
            files.write(folder / module.name, module.read_bytes())
            continue
        for path in module.rglob("*"):
            name = path.relative_to(module.parent)
            if path.is_file() and not any(part.startswith((".", "__pycache__")) for part in name.parts):
                files.write(folder.joinpath(*name.parts), path.read_bytes())


def differing(modules: Sequence[Path], there: Sequence[Path]) -> list[Path]:
    """The `modules` that lie `there` in another version under the same name."""
    known = {path.name: _contents(path) for path in there}
    return [path for path in modules if known.get(path.name, _contents(path)) != _contents(path)]


def _contents(module: Path) -> dict[str, bytes]:
    sources = [module] if module.is_file() else module.rglob("*.py")
    return {str(path.relative_to(module.parent)): path.read_bytes() for path in sources}


@contextmanager
def kept(folder: Place) -> Iterator[list[Path]]:
    """What `keep` has put there can be imported, unless this machine has modules of those names.

    Yields what is there.
    """
    with ExitStack() as stack:
        if not isinstance(folder, Path):
            remote, folder = folder, Path(stack.enter_context(tempfile.TemporaryDirectory()))
            for path in files.find(remote, "**/*"):
                if path.is_file():
                    files.write(folder / str(path).removeprefix(f"{remote}/"), files.read(path))
        sys.path.append(str(folder))
        stack.callback(sys.path.remove, str(folder))
        importlib.invalidate_caches()
        found = sorted(folder.iterdir()) if folder.is_dir() else []
        yield [path for path in found if path.name != "__pycache__"]


def _texts(tree: Any) -> Iterator[str]:
    if isinstance(tree, str):
        yield tree
    elif isinstance(tree, Mapping | list):
        for value in tree.values() if isinstance(tree, Mapping) else tree:
            yield from _texts(value)


def _source(name: str) -> Path | None:
    """The folder of a package, or the file of a module."""
    try:
        spec = importlib.util.find_spec(name)
    except ValueError as error:  # `__main__` of a notebook
        raise UserError(f"{name} has no file that workers could be sent: put it into one") from error
    if spec is None:
        return None
    if spec.submodule_search_locations:
        return Path(next(iter(spec.submodule_search_locations)))
    return Path(spec.origin) if spec.origin and Path(spec.origin).is_file() else None


def _is_installed(path: Path) -> bool:
    installed = {"site-packages", "dist-packages"} & set(path.parts)
    return bool(installed) or path.is_relative_to(sysconfig.get_path("stdlib"))
