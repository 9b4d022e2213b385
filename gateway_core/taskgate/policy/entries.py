"""One rule or mask of a file: its shape, and what its parts demand of each other. Every problem, each with its line."""

from __future__ import annotations

from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from taskgate.policy import model
from taskgate.policy.condition import Condition, compile_condition
from taskgate.policy.document import Document, Place
from taskgate.policy.globs import names_everything
from taskgate.policy.principals import names_somebody
from taskgate.policy.problems import Problem, did_you_mean

_Entry = TypeVar("_Entry", bound=BaseModel)


def _where(place: Place) -> str:
    text = ""
    for part in place:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


class EntryReader:
    """Reads the entry at `place` of a document."""

    def __init__(self, document: Document, place: Place, problems: list[Problem]) -> None:
        self._document = document
        self._place = place
        self._problems = problems
        self.raw: Any = document.data
        for part in place:
            self.raw = self.raw[part]
        name = self.raw.get("id") if isinstance(self.raw, dict) else None
        kind = str(place[0]).removesuffix("s")
        self.title = f'{kind} "{name}"' if isinstance(name, str) and name else _where(place)

    @property
    def line(self) -> int:
        return self._document.line(self._place)

    def problem(self, at: Place, message: str, *, line_of: Place | None = None) -> None:
        """`at`: the part in question, from this entry on; `line_of` where another line shows it better."""
        where = f"{_where(at)}: " if at else ""
        line = self._document.line((*self._place, *(at if line_of is None else line_of)))
        self._problems.append(Problem(self._document.path, line, f"{self.title}: {where}{message}"))

    def shape(self, kind: type[_Entry]) -> _Entry | None:
        if not isinstance(self.raw, dict):
            self.problem((), "must be a mapping")
            return None
        try:
            return kind.model_validate(self.raw)
        except ValidationError as error:
            for details in error.errors(include_url=False):
                self._shape_problem(kind, details)
            return None

    def _shape_problem(self, kind: type[BaseModel], details: ErrorDetails) -> None:
        at: Place = tuple(details["loc"])
        if details["type"] == "extra_forbidden":
            part = model.PARTS.get(str(at[-2]), kind) if len(at) > 1 else kind
            word = str(at[-1])
            self.problem(at[:-1], f'unknown key "{word}"{did_you_mean(word, model.keys(part))}', line_of=at)
            return
        # A value that stood alone was put in a list: its index is nowhere in the file.
        while at and not self._written(at) and isinstance(at[-1], int):
            at = at[:-1]
        self.problem(at, _message(details))

    def _written(self, at: Place) -> bool:
        return (*self._place, *at) in self._document.lines

    def condition(self) -> Condition | None:
        """The compiled `when`; None where there is none or it has a problem."""
        source = self.raw.get("when") if isinstance(self.raw, dict) else None
        if not isinstance(source, str):
            return None
        condition, problems = compile_condition(source)
        for problem in problems:
            line = source.count("\n", 0, problem.offset) + 1
            column = problem.offset - (source.rfind("\n", 0, problem.offset) + 1) + 1
            at = f"{line}:{column}" if "\n" in source.strip() else f"{column}"
            self.problem(("when",), f"at {at}: {problem.message}")
        return condition

    def _has(self, key: str) -> bool:
        return self.raw.get(key) is not None

    def rule_demands(self) -> None:
        """What a rule's parts demand of each other; looks at the plain data, so that it also speaks where the shape is
        wrong elsewhere."""
        if not isinstance(self.raw, dict):
            return
        verdict = self.raw.get("verdict")
        if verdict == "approve" and not self._has("approval"):
            self.problem((), "an approve rule needs approval.from: who may approve")
        if verdict in ("allow", "deny") and self._has("approval"):
            self.problem(("approval",), f"only an approve rule has an approval block, this one says {verdict}")
        if verdict == "deny" and self._has("limits"):
            self.problem(("limits",), "a deny rule lets nothing through that could be limited")
        if verdict == "allow":
            self._named_calls()

    def _named_calls(self) -> None:
        match = self.raw.get("match")
        effects, objects = (match.get("effects"), match.get("objects")) if isinstance(match, dict) else (None, None)
        named = [name for name in (objects if isinstance(objects, list) else [objects]) if isinstance(name, str)]
        if "sql.call" in (effects if isinstance(effects, list) else [effects]) and (
            not named or any(map(names_everything, named))
        ):
            self.problem(("match",), "to allow sql.call name the functions in objects: any function may read any table")

    def mask_demands(self, spec: model.Mask | None, detectors: frozenset[str]) -> None:
        if not isinstance(self.raw, dict):
            return
        if self._has("columns") == self._has("detect"):
            self.problem((), "needs columns or detect, one of the two")
        detect = self.raw.get("detect")
        for index, name in enumerate(detect if isinstance(detect, list) else [detect]):
            if isinstance(name, str) and name and name != "*" and name not in detectors:
                at = ("detect", index) if isinstance(detect, list) else ("detect",)
                self.problem(at, f'unknown detector "{name}"{did_you_mean(name, detectors)}')
        if spec is not None and spec.kind == "none" and not names_somebody(spec.principals):
            self.problem((), "an exemption (with: none) has to say who in principals: name, groups, source, …")
        if spec is not None and spec.detect is not None:
            for key in ("predicates", "flows"):
                if self._has(key):
                    self.problem((key,), "only a mask of columns has it")


def _message(details: ErrorDetails) -> str:
    """pydantic's words where they are ours, else plainer ones."""
    value = details["input"]
    match details["type"]:
        case "missing":
            return "is missing"
        case "value_error":
            return details["msg"].removeprefix("Value error, ")
        case "string_type":
            return f"must be a text, not {_shown(value)}"
        case "bool_type":
            return f"must be true or false, not {_shown(value)}"
        case "int_type":
            return f"must be a whole number, not {_shown(value)}"
        case "greater_than_equal":
            return f"must be at least {details['ctx']['ge']}"
        case "less_than_equal":
            return f"must be at most {details['ctx']['le']}"
        case "string_pattern_mismatch":
            return f"{_shown(value)} is not a name: small letters, digits, _ . and -, at most 63"
        case "string_too_long":
            return f"is longer than {details['ctx']['max_length']} characters"
        case "too_short":
            return "needs at least one entry"
        case "model_type" | "model_attributes_type":
            return "must be a mapping"
        case _:
            return details["msg"]


def _shown(value: object) -> str:
    if value is None:
        return "empty"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list"
    return repr(value) if isinstance(value, str) else f"{value} (put it in quotes)"
