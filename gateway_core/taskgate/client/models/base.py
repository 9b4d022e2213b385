"""What all messages of the control API have in common."""

from __future__ import annotations

from typing import Annotated, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer, SecretStr, StringConstraints, WithJsonSchema

Name = Annotated[str, StringConstraints(min_length=1, max_length=250, pattern=r"^[^\x00-\x1f\x7f]+$")]
"""A name or identifier that somebody else chose: no control characters, at most 250 characters."""

OnceShown = Annotated[
    SecretStr,
    PlainSerializer(lambda value: value.get_secret_value(), return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "format": "password"}),
]
"""A new secret, answered this once. `str()` and `repr()` hide it; only JSON, which is the wire, has it in clear."""

AttributeValue = bool | int | str | tuple[str, ...]

Item = TypeVar("Item")


class Answer(BaseModel):
    """Base of everything the server sends."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Request(BaseModel):
    """Base of everything the client sends."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Page(Answer, Generic[Item]):
    """Some of the items, in order. `next_cursor` asks for those behind them; None: these were the last."""

    items: list[Item]
    next_cursor: str | None = None


class FieldProblem(Answer):
    """One thing wrong with a request. `where` is its place, such as `body.principal.dag_id`."""

    where: str
    message: str


class Problem(BaseModel):
    """An error (RFC 9457 `application/problem+json`). `code` is stable, for programs; `detail`, `hint` for people."""

    model_config = ConfigDict(frozen=True, extra="allow")

    type: str = "about:blank"
    title: str
    status: int
    detail: str | None = None
    instance: str | None = None
    code: str | None = None
    hint: str | None = None
    request_id: str | None = None
    errors: list[FieldProblem] = Field(default_factory=list)


class Reason(Request):
    """Why somebody revokes, withdraws or kills: recorded and shown to those it hits."""

    reason: str = Field(default="", max_length=1000)


class ReadinessCheck(Answer):
    name: str
    ok: bool
    reason: str | None = None


class Readiness(Answer):
    ready: bool
    checks: list[ReadinessCheck]
