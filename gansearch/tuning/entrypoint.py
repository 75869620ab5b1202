"""What a job is on the cluster: a line for the head's shell, and the folder in which it works.

Neither holds a secret or a path of this machine: all who see the dashboard can read them.
"""

from __future__ import annotations

import shlex
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from gansearch.errors import UserError
from gansearch.masking import shows_password
from gansearch.tuning.where import OPTIONS, Option, Where


@contextmanager
def folder_of(paths: Sequence[Path]) -> Iterator[Path]:
    """Files and folders side by side in one; Ray's client cannot send a single file by itself."""
    leave = shutil.ignore_patterns("__pycache__", ".*")
    with tempfile.TemporaryDirectory() as name:
        for path in paths:
            if path.is_dir():
                shutil.copytree(path, Path(name) / path.name, ignore=leave, dirs_exist_ok=True)
            else:
                shutil.copy(path, name)
        yield Path(name)


def _words(where: Where) -> list[str]:
    """Options as words of a command line on the head, but for --runs-dir, which `command` says.

    Raises `UserError` for a path that could mean another one there.
    """
    words = []
    for name, option in OPTIONS.items():
        said = getattr(where, name)
        if name in ("runs_dir", "address") or said is None:
            continue
        # Modules lie in the folder in which the command works.
        each = [module.name for module in said] if name == "modules" else [_on_cluster(option, said)]
        words += [word for value in each for word in (f"--{option.flag}", value)]
    return words


def _on_cluster(option: Option, said: object) -> str:
    """A value that means the same wherever the command runs; raises `UserError` for another one."""
    text = str(said)
    if not option.is_path or text.startswith("/") or "://" in text:
        return text
    raise UserError(
        f"--{option.flag} {text} is a path on the cluster here: give it from the root, /..."
    )


def refuse_secrets(texts: Sequence[str], where: str) -> None:
    """Raise `UserError` for texts that show a password; `where` names what they are in."""
    if any(shows_password(text) for text in texts):
        raise UserError(
            f"{where} would show a password to all who see the cluster's dashboard: set "
            "GANSEARCH_STORAGE or MLFLOW_TRACKING_URI in the head's environment instead"
        )


def command(arguments: Sequence[str], where: Where) -> str:
    """A line for the head's shell; raises `UserError` for what it must not hold."""
    words = ["gansearch", *arguments, *_words(where)]
    if where.runs_dir is None:
        # A relative default would lie in the job's own folder, which Ray deletes.
        unset = "it is not set in the environment of the head: set it, or say --runs-dir"
        folder = f'"${{GANSEARCH_RUNS:?{unset}}}"'
    else:
        folder = shlex.quote(_on_cluster(OPTIONS["runs_dir"], where.runs_dir))
    refuse_secrets([*words, folder], "the job's command")
    return f"{shlex.join(words)} --runs-dir {folder}"


def captured(line: str, mark: str) -> str:
    """A line that prints its output, then its errors, each after a mark: Ray mixes the two."""
    says = f"printf '%s\\n' {shlex.quote(mark)}"
    return (
        f'errors=$(mktemp); output=$({{ {line}; }} 2>"$errors"); code=$?; '
        f"""{says}; printf '%s\\n' "$output"; {says}; cat "$errors"; rm -f "$errors"; exit $code"""
    )
