"""A YAML file as plain data that remembers its lines.

Scalars follow YAML 1.2's core schema, so that `no`, `on` and `2026-01-01` are texts. Anchors may be used, but what they
expand to is limited; tags, merge keys, duplicate keys and several documents are refused.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from taskgate.policy.problems import Problem

MOST_BYTES = 1 << 20
_MOST_NODES = 100_000
_DEEPEST = 32

Place = tuple[str | int, ...]

_TAG = "tag:yaml.org,2002:"


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Parses and composes only; nothing is ever constructed from a tag."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - replaces the class's own table of YAML 1.1


for _name, _pattern, _first in (
    ("null", r"~|null|Null|NULL|", "~nN\0"),
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", r"[-+]?[0-9]+", "-+0123456789"),
    ("float", r"[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?", "-+.0123456789"),
):
    for _char in [*_first.replace("\0", ""), *([""] if "\0" in _first else [])]:
        _Loader.yaml_implicit_resolvers.setdefault(_char, []).append((_TAG + _name, re.compile(f"(?:{_pattern})\\Z")))


@dataclass(frozen=True, slots=True)
class Document:
    """`data` is built of dict, list, str, int, float, bool and None. `lines` has the line of every value by its path;
    for an entry of a mapping that is its key's line."""

    path: str
    data: Any
    lines: dict[Place, int]

    def line(self, path: Place) -> int:
        """The line of this value, or of the closest thing around it that is written in the file."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)


class _Stop(Exception):
    """What follows cannot be understood either."""


class _Reader:
    def __init__(self, path: str, problems: list[Problem]) -> None:
        self.path = path
        self.problems = problems
        self.lines: dict[Place, int] = {}
        self._nodes = 0

    def problem(self, node: yaml.Node, message: str) -> None:
        self.problems.append(Problem(self.path, node.start_mark.line + 1, message))

    def build(self, node: yaml.Node, at: Place) -> Any:
        self._nodes += 1
        if self._nodes > _MOST_NODES:
            self.problem(node, f"expands to more than {_MOST_NODES:,} values")
            raise _Stop
        if len(at) > _DEEPEST:
            self.problem(node, f"nested more than {_DEEPEST} deep")
            raise _Stop
        self.lines.setdefault(at, node.start_mark.line + 1)
        if isinstance(node, yaml.MappingNode) and node.tag == _TAG + "map":
            return self._mapping(node, at)
        if isinstance(node, yaml.SequenceNode) and node.tag == _TAG + "seq":
            return [self.build(child, (*at, index)) for index, child in enumerate(node.value)]
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node)
        self.problem(node, f"YAML tags are not allowed: {node.tag}")
        return None

    def _mapping(self, node: yaml.MappingNode, at: Place) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                self.problem(key, "a key must be a plain text")
            elif key.value == "<<":
                self.problem(key, "merge keys (<<) are not supported")
            elif key.value in found:
                first = self.lines[(*at, key.value)]
                self.problem(key, f'duplicate key "{key.value}", first on line {first}')
            else:
                self.lines[(*at, key.value)] = key.start_mark.line + 1
                found[key.value] = self.build(value, (*at, key.value))
        return found

    def _scalar(self, node: yaml.ScalarNode) -> Any:
        text: str = node.value
        match node.tag.removeprefix(_TAG):
            case "str":
                return text
            case "null":
                return None
            case "bool":
                return text.lower() == "true"
            case "int" if len(text) <= 18:
                return int(text)
            case "float" if len(text) <= 32:
                return float(text)
            case "int" | "float":
                self.problem(node, "the number is too long")
            case _:
                self.problem(node, f"YAML tags are not allowed: {node.tag}")
        return None


def _compose(text: str, path: str, problems: list[Problem]) -> yaml.Node | None:
    """The node tree. Counts events first: composing recurses, in C too, and must not meet a tower of brackets."""
    depth = 0
    for count, event in enumerate(yaml.parse(text, Loader=_Loader)):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > _DEEPEST or count > _MOST_NODES:
            what = f"nested more than {_DEEPEST} deep" if depth > _DEEPEST else f"more than {_MOST_NODES:,} values"
            mark = event.start_mark
            problems.append(Problem(path, mark.line + 1 if mark else 0, what))
            return None
    node: yaml.Node | None = yaml.compose(text, Loader=_Loader)
    return node


def parse(text: str, path: str, problems: list[Problem]) -> Document | None:
    """Read one file's text; what is wrong goes to `problems`. None where there is nothing to go on with."""
    if len(text.encode()) > MOST_BYTES:
        problems.append(Problem(path, 0, f"larger than {MOST_BYTES // 1024:,} KiB"))
        return None
    try:
        node = _compose(text, path, problems)
        if node is None:
            if not problems:
                problems.append(Problem(path, 0, "the file is empty"))
            return None
        reader = _Reader(path, problems)
        return Document(path, reader.build(node, ()), reader.lines)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        what = error.problem or error.context or "not YAML"
        problems.append(Problem(path, mark.line + 1 if mark else 0, f"not YAML: {what}"))
    except yaml.YAMLError as error:
        problems.append(Problem(path, 0, f"not YAML: {str(error).splitlines()[0]}"))
    except _Stop:
        pass
    return None


def read(path: Path, problems: list[Problem]) -> tuple[str, Document | None]:
    """The text of a file, and what it says. Never reads more than the size limit."""
    name = str(path)
    try:
        with path.open("rb") as file:
            raw = file.read(MOST_BYTES + 1)
        text = raw.decode()
    except OSError as error:
        problems.append(Problem(name, 0, f"cannot be read: {error.strerror}"))
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        problems.append(Problem(name, line, "is not UTF-8"))
    else:
        return text, parse(text, name, problems)
    return "", None
