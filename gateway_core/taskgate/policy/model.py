"""The shape of policy files. What one entry needs besides its shape is in `load`."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

from taskgate.domain import APPROVAL_CHANNELS, Assurance, MaskKind, PrincipalKind, RecordingLevel, Verdict
from taskgate.policy.effects import EFFECTS
from taskgate.policy.globs import is_literal, matcher
from taskgate.policy.problems import did_you_mean

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def _listed(value: object) -> object:
    """One entry may stand alone instead of in a list."""
    return value if isinstance(value, list) else (value,)


def _duration(value: object) -> float:
    match = _DURATION.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        raise ValueError("a duration looks like 30s, 10m, 4h or 1d")
    seconds = float(match[1]) * _SECONDS[match[2]]
    if not 0 < seconds <= 366 * 86400:
        raise ValueError("a duration is longer than nothing and at most a year")
    return seconds


def word(known: Iterable[str]) -> BeforeValidator:
    """One of these words, and a suggestion where it is not."""
    words = list(known)

    def check(value: object) -> object:
        if not isinstance(value, str) or value not in words:
            raise ValueError(f"must be one of {', '.join(words)}, not {value!r}{did_you_mean(str(value), words)}")
        return value

    return BeforeValidator(check)


def null(value: object) -> object:
    """YAML reads the word null as nothing; here it is the strictest mask."""
    return "null" if value is None else value


def _glob(pattern: str) -> str:
    if not pattern.strip():
        raise ValueError("an empty glob matches nothing")
    return pattern


def _effect(pattern: str) -> str:
    if is_literal(pattern):
        if pattern not in EFFECTS:
            raise ValueError(f'unknown effect "{pattern}"{did_you_mean(pattern, EFFECTS)}')
    elif not any(matcher(pattern)(effect) for effect in EFFECTS):
        raise ValueError(f'no effect matches "{pattern}"')
    return pattern


def _column(pattern: str) -> str:
    if "." not in pattern and not pattern.startswith("*"):
        raise ValueError(f'columns are schema.table.column: write "*.{pattern}"')
    return pattern


def _approver(entry: str) -> str:
    kind, colon, name = entry.partition(":")
    if not colon or kind not in ("group", "user") or not name.strip():
        raise ValueError(f'an approver is group:NAME or user:NAME, not "{entry}"')
    return entry


Text = Annotated[str, Field(strict=True)]
Duration = Annotated[float, BeforeValidator(_duration)]
Count = Annotated[int, Field(strict=True, ge=1, le=2**53)]
Glob = Annotated[Text, Field(max_length=256), AfterValidator(_glob)]
Globs = Annotated[tuple[Glob, ...], BeforeValidator(_listed), Field(min_length=1)]
Effects = Annotated[tuple[Annotated[Glob, AfterValidator(_effect)], ...], BeforeValidator(_listed), Field(min_length=1)]
Columns = Annotated[tuple[Annotated[Glob, AfterValidator(_column)], ...], BeforeValidator(_listed), Field(min_length=1)]
Approvers = Annotated[
    tuple[Annotated[Text, AfterValidator(_approver)], ...], BeforeValidator(_listed), Field(min_length=1)
]
Channels = Annotated[tuple[Annotated[Text, word(APPROVAL_CHANNELS)], ...], BeforeValidator(_listed)]
Id = Annotated[Text, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_.-]{0,62}$")]


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=False)


class Principals(_Entry):
    """Whom an entry is about. Everything named has to match; one of several values is enough."""

    kind: Annotated[tuple[Annotated[PrincipalKind, word(PrincipalKind)], ...] | None, BeforeValidator(_listed)] = None
    source: Globs | None = None
    name: Globs | None = None
    groups: Globs | None = None
    assurance: (
        Annotated[
            tuple[Annotated[Assurance | Literal["any"], word([*Assurance, "any"])], ...], BeforeValidator(_listed)
        ]
        | None
    ) = None
    verified_by: Globs | None = None
    bundle: Globs | None = None
    bundle_version: Globs | None = None
    queue: Globs | None = None
    run_type: Globs | None = None
    triggering_user: Globs | None = None
    deployment: Globs | None = None
    work_pool: Globs | None = None
    dag_id: Globs | None = None
    task_id: Globs | None = None
    owner: Globs | None = None
    tags: Globs | None = None
    flow: Globs | None = None


class Match(_Entry):
    targets: Globs
    principals: Principals | None = None
    effects: Effects
    objects: Globs | None = None


class Approval(_Entry):
    approvers: Approvers = Field(alias="from")
    hold: Duration = 600.0
    hold_in_transaction: Duration = 60.0
    expires: Duration = 4 * 3600.0
    uses: Count = 1
    max_rows: Count | None = None
    streams: Annotated[Literal["allow", "refuse"], word(["allow", "refuse"])] = "refuse"
    allow_requester: Annotated[bool, Field(strict=True)] = False
    channels: Channels = ()


class Limits(_Entry):
    max_rows: Count


class Rule(_Entry):
    id: Id
    match: Match
    when: Text | None = None
    verdict: Annotated[Verdict, word(Verdict)]
    reason: Annotated[Text, Field(max_length=500)] | None = None
    approval: Approval | None = None
    record: Annotated[RecordingLevel, word(RecordingLevel)] | None = None
    limits: Limits | None = None


class Mask(_Entry):
    id: Id | None = None
    targets: Globs
    columns: Columns | None = None
    detect: Globs | None = None
    kind: Annotated[MaskKind, word(MaskKind), BeforeValidator(null)] = Field(alias="with")
    principals: Principals | None = None
    predicates: Annotated[Literal["allow", "refuse"], word(["allow", "refuse"])] = "refuse"
    flows: Annotated[Literal["allow", "refuse"], word(["allow", "refuse"])] = "refuse"


def keys(model: type[BaseModel]) -> tuple[str, ...]:
    """The keys a part of a file may have."""
    return tuple(field.alias or name for name, field in model.model_fields.items())


#: The keys of a file itself; `rules` and `masks` are read entry by entry, so that every problem is found.
FILE_KEYS = ("version", "builtin", "rules", "masks")

#: Where an unknown key can be, for suggestions: the last name on the way → the part's model.
PARTS: dict[str, type[BaseModel]] = {
    "match": Match,
    "principals": Principals,
    "approval": Approval,
    "limits": Limits,
}


def plain(model: BaseModel) -> dict[str, Any]:
    """What a part says, without what it leaves open."""
    return {name: value for name, value in model if value is not None}
