"""Where a setting was made: at a line of the settings file, or by a variable of the environment. What is wrong with it
is told at that place, and a name that is none gets the nearest that is one."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel
from pydantic_settings import EnvSettingsSource

PREFIX, BELOW = "TASKGATE_", "__"
_NO_SETTINGS = frozenset({"ALLOW_PLAIN_HTTP", "API_KEY", "API_KEY_FILE", "CA_FILE", "CONFIG", "PURE_PYTHON", "URL"})
_OF_KUBERNETES = re.compile(r"_SERVICE_(HOST|PORT)(_.*)?=|_PORT_\d+_(TCP|UDP|SCTP)(_.*)?=|_PORT=[a-z]+://")
_FROM_JSON = frozenset({"list_type", "dict_type", "model_type", "model_attributes_type"})

Place = tuple[str | int, ...]


class Variables(EnvSettingsSource):
    """What the environment sets. A list or section that is no JSON stays a text, for validation to refuse by name."""

    def decode_complex_value(self, field_name: str, field: Any, value: Any) -> Any:
        try:
            return super().decode_complex_value(field_name, field, value)
        except ValueError:
            return value


def _named() -> dict[tuple[str, ...], str]:
    """Variables with our prefix, by the setting that each would name."""
    found = {}
    for name in os.environ:
        short = name.upper().removeprefix(PREFIX)
        if short != name.upper() and short not in _NO_SETTINGS:
            found[tuple(short.lower().split(BELOW))] = name
    return found


def _variable(place: Iterable[str]) -> str:
    return PREFIX + BELOW.join(place).upper()


def referenced(values: object) -> Iterator[str]:
    """The variables that `env:NAME` references among settings read: secrets, whatever they are called."""
    if isinstance(values, str) and values.startswith("env:"):
        yield values.removeprefix("env:")
    elif isinstance(values, Mapping):
        for value in values.values():
            yield from referenced(value)
    elif isinstance(values, list | tuple):
        for value in values:
            yield from referenced(value)


def unknown_variables(model: type[BaseModel], values: object) -> Iterator[tuple[bool, str]]:
    """Variables with our prefix that set nothing: whether that is certainly a mistake (nobody else writes `__`), and
    what to tell. `values`: the settings as read. Kubernetes' own variables for a service of our name are left alone."""
    secrets = set(referenced(values))
    known = [BELOW.join(place).upper() for place in _settings(model)]
    for place, name in _named().items():
        if place[0] in model.model_fields or name in secrets:
            continue
        if _OF_KUBERNETES.search(f"{name}={os.environ[name]}"):
            continue
        close = _close(name.upper().removeprefix(PREFIX), known)
        yield len(place) > 1, f"{name}: no such setting" + (f": did you mean {PREFIX}{close}?" if close else "")


@dataclass(frozen=True, slots=True)
class Origins:
    """`tree`: the file's nodes; `variables`: what the environment set, as settings."""

    file: Path
    tree: yaml.Node | None
    variables: Mapping[str, Any]
    model: type[BaseModel]

    def problem(self, found: Mapping[str, Any]) -> str:
        """`place: setting: message` for one of pydantic's problems."""
        place: Place = found["loc"]
        names = _named()
        where = ".".join(map(str, place))
        message = str(found["msg"]).removeprefix("Value error, ")
        if (name := self._set_by(place, names)) is not None:
            said, around = name, where if _variable(map(str, place)) != name.upper() else ""
            if found["type"] in _FROM_JSON:
                message += ", written as JSON"
        else:
            beside = [name for of, name in names.items() if place and of[: len(place)] == place]
            said, around = f"{self.file}:{self._line(place)}", where
            if beside:
                message += f" ({', '.join(sorted(beside))} in the environment)"
        if found["type"] == "extra_forbidden":
            return f"{said}: unknown setting {where}{_nearest_setting(self.model, place)}"
        return f"{said}: {around + ': ' if around else ''}{message}"

    def _set_by(self, place: Place, names: Mapping[tuple[str, ...], str]) -> str | None:
        """The variable that set the value at `place`, or something that it is in."""
        below: Any = self.variables
        for step in place:
            if not isinstance(below, Mapping):
                break
            if step not in below:
                return None
            below = below[step]
        if isinstance(below, Mapping):  # a section: the file may have set other parts of it
            return None
        owners = [of for of in names if of == place[: len(of)]]
        return names[max(owners, key=len)] if owners else None

    def _line(self, place: Place) -> int:
        """Of the nearest node that exists."""
        node, line = self.tree, 1
        for step in place:
            below = None
            if isinstance(node, yaml.MappingNode):
                for key, value in node.value:
                    if key.value == step:
                        line, below = key.start_mark.line + 1, value
            elif isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
                below = node.value[step]
                line = below.start_mark.line + 1
            if below is None:
                break
            node = below
        return line


def _section(annotation: Any) -> type[BaseModel] | None:
    """The model in a field's type: itself, or what a list of them holds."""
    for kind in (annotation, *get_args(annotation)):
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            return kind
    return None


def _settings(model: type[BaseModel]) -> Iterator[tuple[str, ...]]:
    """The path of every setting that a variable can name; what stands in a list is set with the list."""
    for name, field in model.model_fields.items():
        yield (name,)
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            for below in _settings(kind):
                yield (name, *below)


def _nearest_setting(model: type[BaseModel], place: Place) -> str:
    """Something like the last name in the same section, else that very name in another."""
    section: type[BaseModel] | None = model
    for step in place[:-1]:
        if isinstance(step, str) and section is not None:
            field = section.model_fields.get(step)
            section = _section(field.annotation) if field else None
    *above, name = map(str, place)
    if section is not None and (close := _close(name, section.model_fields)):
        return f": did you mean {'.'.join((*above, close))}?"
    elsewhere = [".".join(path) for path in _settings(model) if path[-1] == name]
    return f": did you mean {' or '.join(elsewhere)}?" if elsewhere else ""


def _close(word: str, known: Iterable[str]) -> str | None:
    found = difflib.get_close_matches(word, sorted(known), n=1, cutoff=0.7)
    return found[0] if found else None
