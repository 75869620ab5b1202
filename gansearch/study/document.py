"""Reading YAML so that mistakes can be told with their line, and `1e-5` is a number."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from shlex import quote
from typing import Any, TypeVar, cast

import yaml

from gansearch import files
from gansearch.errors import InvalidInput, Problem, UserError
from gansearch.files import Place
from gansearch.masking import shows_password

AnyPlace = TypeVar("AnyPlace", bound=Place)

Path_ = tuple[str | int, ...]
"""Where something stands in a document: keys and list positions from the top."""


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader with the numbers of YAML 1.2, dates and `=` as text.

    YAML 1.1 reads `1e-5` as text, `010` as eight and `1:20` as eighty.
    """


_UNLIKE = tuple(f"tag:yaml.org,2002:{kind}" for kind in ("int", "float", "timestamp", "value"))
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag not in _UNLIKE]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:int",  # before what is a float, too
    re.compile(r"^[-+]?\d[\d_]*$|^0x[\da-fA-F_]+$|^0o[0-7_]+$"),
    list("-+0123456789"),
)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(
        r"^[-+]?(\d[\d_]*\.?[\d_]*|\.\d[\d_]*)([eE][-+]?\d+)?$|^[-+]?\.(inf|Inf)$|^\.(nan|NaN)$"
    ),
    list("-+0123456789."),
)


def _integer(loader: _Loader, node: yaml.ScalarNode) -> int:  # noqa: ARG001  as PyYAML calls it
    digits = node.value.replace("_", "")
    return int(digits, 0 if digits[1:2] in ("x", "o") else 10)


_Loader.add_constructor("tag:yaml.org,2002:int", _integer)


@dataclass(frozen=True)
class Document:
    """A parsed file: its tree of plain values, and the line on which each part of it begins."""

    source: str
    tree: Any
    lines: dict[Path_, int]

    def line(self, path: Path_) -> int | None:
        """The line of a path, or of its nearest ancestor in the file; 0 for what `override` put there,
        None for what is in neither.
        """
        while len(path) > 1 and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path)

    def place(self, path: Path_) -> str:
        """`line 3, loss.penalty.weight`, or `--set loss.penalty.weight`."""
        line = self.line(path)
        if line is None:
            return dotted(path)
        return f"line {line}, {dotted(path)}" if line else f"--set {dotted(path)}"

    def override(self, key: str, value: Any) -> None:
        """Put a value in the place of the file's, by its dotted key; raises `UserError`."""
        if "[" in key:
            whole = key.partition("[")[0]
            raise UserError(
                f"--set {key}: reaches into a list: set {whole} as a whole, or change {self.source}"
            )
        *above, last = path = tuple(key.split("."))
        node = self.tree
        for i, part in enumerate(above):
            if part not in node:
                self.lines[path[: i + 1]] = 0
            node = node.setdefault(part, {})
            if not isinstance(node, dict):
                whole = dotted(path[: i + 1])
                raise UserError(
                    f"--set {key}: '{whole}' holds no keys in {self.source}: set it as a whole, a "
                    f"part as --set '{whole}={{name: NAME, OPTION: VALUE}}'"
                )
        node[last] = value
        for known in [known for known in self.lines if known[: len(path)] == path]:
            del self.lines[known]
        self.lines[path] = 0

    def secrets(self) -> list[tuple[Path_, str]]:
        """Where something stands that a file which is shown to many should not hold, and the mend."""
        return list(_secrets(self.tree, ()))


_SECRET_KEY = re.compile(r"(password|passwd|secret|token|api_?key|access_?key)$", re.IGNORECASE)


def _secrets(node: Any, path: Path_) -> Iterator[tuple[Path_, str]]:
    if isinstance(node, dict | list):
        for key, child in node.items() if isinstance(node, dict) else enumerate(node):
            yield from _secrets(child, (*path, key))
    elif isinstance(node, str):
        named = bool(path) and _SECRET_KEY.search(str(path[-1]))
        if named or shows_password(node):
            yield (
                path,
                "looks like a password, and a study's file is shown in MLflow, reports and exports: "
                "have your code read it from an environment variable",
            )


def dotted(path: Path_) -> str:
    """`("loss", "choice", 2, "name")` -> `loss.choice[2].name`."""
    text = "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in path)
    return text.removeprefix(".")


def read_document(path: Place) -> Document:
    """Parse a YAML file; raises `InvalidInput` for what is missing, not YAML or not a mapping."""
    try:
        text = files.read(path).decode("utf-8")
    except IsADirectoryError as error:
        raise InvalidInput(str(path), [Problem("", _folder(path))]) from error
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "is not UTF-8 text"
        raise InvalidInput(str(path), [Problem("", f"cannot be read: {reason}")]) from error
    return parse_document(text, str(path))


def _folder(path: Place) -> str:
    """What to say of a folder where a file was to be."""
    if not (file := path / "study.yaml").is_file():
        return "is a folder, not a file"
    export = f"`gansearch export {quote(str(path))} --out FOLDER`"
    return f"is the folder of a study, whose file is {file}; {export} writes its best configuration"


def configuration_file(path: AnyPlace) -> AnyPlace:
    """The file of a configuration: itself, or that of an export, whose folder is one, too."""
    inside = cast("AnyPlace", path / "config.yaml")
    with files.reachable(path):
        return inside if inside.is_file() else path


def parse_document(text: str, source: str) -> Document:
    """Parse YAML text; `source` names it in messages. Raises `InvalidInput`."""
    lines: dict[Path_, int] = {}
    problems: list[Problem] = []
    try:
        tree = _parse(text, lines, problems)
    except yaml.YAMLError as error:
        raise InvalidInput(source, [_problem(error, text)]) from error
    if not isinstance(tree, dict):
        problems.append(Problem("", "must be a mapping of keys to values"))
    if problems:
        raise InvalidInput(source, problems)
    return Document(source, tree, lines)


def parse_value(text: str) -> Any:
    """One YAML value, as for `--set KEY=VALUE`; raises `yaml.YAMLError`."""
    problems: list[Problem] = []
    value = _parse(text, {}, problems)
    if problems:
        raise yaml.YAMLError(problems[0].message)
    return value


def _parse(text: str, lines: dict[Path_, int], problems: list[Problem]) -> Any:
    """The plain values of a text, None for an empty one; raises `yaml.YAMLError` and nothing else."""
    loader = _Loader("")
    try:
        loader = _Loader(text)  # which looks for characters that YAML does not allow
        node = loader.get_single_node()
        return None if node is None else _construct(loader, node, (), lines, problems)
    except RecursionError as error:
        raise yaml.YAMLError("holds itself, or is nested too deeply") from error
    finally:
        loader.dispose()


def _problem(error: yaml.YAMLError, text: str) -> Problem:
    """A mistake of a YAML text with its line."""
    if isinstance(error, yaml.reader.ReaderError):
        line = text.count("\n", 0, error.position) + 1
        character = f"{int(error.character):#04x}"  # PyYAML gives a number
        return Problem(f"line {line}", f"holds the control character {character}: remove it")
    mark, what = getattr(error, "problem_mark", None), getattr(error, "problem", None)
    if what is None:
        return Problem("", str(error))
    return Problem(f"line {mark.line + 1}" if mark else "", f"is not valid YAML: {what}")


MOST = 100_000
"""Values in a document at most: a study has some hundred, and a few anchors that hold each other many
times would be more than any memory holds."""

_COLLECTIONS = (yaml.resolver.Resolver.DEFAULT_MAPPING_TAG, yaml.resolver.Resolver.DEFAULT_SEQUENCE_TAG)


def _construct(
    loader: _Loader, node: yaml.Node, path: Path_, lines: dict[Path_, int], problems: list[Problem]
) -> Any:
    lines[path] = node.start_mark.line + 1
    if len(lines) > MOST:
        raise yaml.YAMLError(f"holds more than {MOST:,} values")
    if isinstance(node, yaml.CollectionNode) and node.tag not in _COLLECTIONS:
        what = f"the tag {node.tag} has no place here"
        raise yaml.constructor.ConstructorError(None, None, what, node.start_mark)
    if isinstance(node, yaml.SequenceNode):
        return [
            _construct(loader, child, (*path, i), lines, problems) for i, child in enumerate(node.value)
        ]
    if not isinstance(node, yaml.MappingNode):
        return _scalar(loader, node)
    tree = _merged(loader, node, path, lines, problems)
    own = set[str]()
    for key_node, child in node.value:
        if key_node.tag == MERGE:
            continue
        if not isinstance(key_node, yaml.ScalarNode):
            what = "a key is a list or a mapping: write it as text"
            raise yaml.constructor.ConstructorError(None, None, what, key_node.start_mark)
        _scalar(loader, key_node)  # which must be readable: as it is written, `no` is no boolean
        key = key_node.value
        here = (*path, key)
        if key in own:
            line = key_node.start_mark.line + 1
            problems.append(Problem(f"line {line}, {dotted(here)}", "is given twice"))
        own.add(key)
        tree[key] = _construct(loader, child, here, lines, problems)
        lines[here] = key_node.start_mark.line + 1
    return tree


MERGE = "tag:yaml.org,2002:merge"


def _merged(
    loader: _Loader,
    node: yaml.MappingNode,
    path: Path_,
    lines: dict[Path_, int],
    problems: list[Problem],
) -> dict[str, Any]:
    """What `<<: *anchor` puts into a mapping, beneath its own keys: of several the first counts."""
    merged: dict[str, Any] = {}
    for key_node, child in node.value:
        if key_node.tag != MERGE:
            continue
        several = child.value if isinstance(child, yaml.SequenceNode) else [child]
        for each in reversed(several):
            if not isinstance(each, yaml.MappingNode):
                what = "`<<` takes a mapping, or a list of mappings: `<<: *anchor`"
                raise yaml.constructor.ConstructorError(None, None, what, each.start_mark)
            merged |= _construct(loader, each, path, lines, problems)
    lines[path] = node.start_mark.line + 1
    return merged


def _scalar(loader: _Loader, node: yaml.Node) -> Any:
    """A single value, of a kind that every format we write it to can hold."""
    kind = node.tag.rpartition(":")[2]
    try:
        value = loader.construct_object(node)
        str(value)  # which Python refuses for a number of too many digits, as hexadecimal ones may have
    except yaml.YAMLError:
        raise
    except Exception as error:  # PyYAML lets Python's own through
        shown = node.value if len(node.value) <= 40 else f"{node.value[:40]}..."
        what = f"'{shown}' cannot be read as {kind}"
        raise yaml.constructor.ConstructorError(None, None, what, node.start_mark) from error
    if isinstance(value, str) and not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError as error:
            what = "half of a character (a lone surrogate) is in a text"
            raise yaml.constructor.ConstructorError(None, None, what, node.start_mark) from error
    if value is not None and not isinstance(value, str | bool | int | float):
        what = f"{kind} has no place here: write text, a number, true, false or null"
        raise yaml.constructor.ConstructorError(None, None, what, node.start_mark)
    return value


class _Dumper(getattr(yaml, "CSafeDumper", yaml.SafeDumper)):  # type: ignore[misc]
    """Writes axes and parts in flow style: one short line each, as a person would."""


_Dumper.yaml_implicit_resolvers = _Loader.yaml_implicit_resolvers  # so that the text "1e-5" is quoted


def _represent_mapping(dumper: yaml.SafeDumper, tree: dict[str, Any]) -> yaml.Node:
    node = dumper.represent_mapping("tag:yaml.org,2002:map", tree.items(), flow_style=False)
    short = all(isinstance(value, yaml.ScalarNode) for _, value in node.value)
    ranges = all(isinstance(v, yaml.SequenceNode) and v.flow_style for _, v in node.value)
    node.flow_style = short or ranges
    return node


def _represent_list(dumper: yaml.SafeDumper, items: list[Any]) -> yaml.Node:
    flat = not any(isinstance(item, dict | list) for item in items)
    return dumper.represent_sequence("tag:yaml.org,2002:seq", items, flow_style=flat)


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    unusual = not _BREAKS.isdisjoint(text)  # line breaks that only double quotes keep
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, '"' if unusual else None)


_BREAKS = frozenset("\x85\u2028\u2029")
_Dumper.add_representer(str, _represent_text)
_Dumper.add_representer(dict, _represent_mapping)
_Dumper.add_representer(list, _represent_list)


def write_document(tree: Any) -> str:
    """YAML text of plain values, keys in their order, readable back to the same tree."""
    return yaml.dump(tree, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)


AXIS_KEYS = ("log", "uniform", "int", "choice", "same", "ratio")
"""What makes a mapping of one key an axis of the search space, or ties it to another value."""
