"""Where the weights lie with which a file's networks begin."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gansearch import files
from gansearch.study.document import Document, Path_

SIDES = ("generator", "discriminator")


def locate_weights(document: Document) -> None:
    """Have the weights that a file names lie where they do seen from this folder, else from beside the
    file: workers, resumers and the study that starts from it may be in another.
    """
    beside = Path(document.source).parent
    for side in SIDES:
        for _, network in parts_at(document.tree, (side,)):
            if "weights" in network:
                network["weights"] = _seen_from_here(network["weights"], beside)


def _seen_from_here(node: Any, beside: Path) -> Any:
    """A place, or an axis of places."""
    if isinstance(node, dict):
        return {key: _seen_from_here(child, beside) for key, child in node.items()}
    if isinstance(node, list):
        return [_seen_from_here(child, beside) for child in node]
    return files.seen_from_here(node, beside) if isinstance(node, str) else node


def parts_at(node: Any, path: Path_, at: Path_ = ()) -> Iterator[tuple[Path_, dict[str, Any]]]:
    """The mappings at a path of a file's tree, below whatever options of choices lead to it."""
    if isinstance(node, dict) and isinstance(options := node.get("choice"), list):
        for index, option in enumerate(options):
            yield from parts_at(option, path, (*at, "choice", index))
    elif isinstance(node, dict) and path:
        yield from parts_at(node.get(path[0]), path[1:], (*at, path[0]))
    elif isinstance(node, dict):
        yield at, node
