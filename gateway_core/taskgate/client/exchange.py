"""One call of the control API as a value, and what becomes of its answer. No I/O: both clients send these."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import httpx
from pydantic import BaseModel, ValidationError

from taskgate.client.errors import TaskgateApiError, UnexpectedAnswer, Unreachable, error_for
from taskgate.client.models import Problem

Result = TypeVar("Result")
Query = Mapping[str, str | int | float | list[str]]

_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
_RETRIED_STATUS = frozenset({429, 502, 503, 504})
_LONGEST_PAUSE = 5.0


@dataclass(frozen=True, slots=True)
class Call(Generic[Result]):
    """What to send and how to read the answer. `idempotent`: doing it twice does no more than doing it once.
    `patience`: seconds the server may take on top of the client's own timeout (a long poll). `silence`: instead of
    that, seconds without a byte after which the connection counts as lost (a stream)."""

    method: str
    path: str
    parse: Callable[[httpx.Response], Result]
    query: Query = field(default_factory=dict)
    body: BaseModel | None = None
    idempotent: bool = False
    patience: float = 0.0
    silence: float | None = None

    def read_timeout(self, usual: float) -> float:
        return usual + self.patience if self.silence is None else self.silence

    def content(self) -> bytes | None:
        return None if self.body is None else self.body.model_dump_json(exclude_none=True).encode()

    def headers(self) -> dict[str, str]:
        return {} if self.body is None else {"Content-Type": "application/json"}


def as_model(model: type[Result]) -> Callable[[httpx.Response], Result]:
    """Reads an answer as this pydantic model. Raises UnexpectedAnswer (without the body: it may hold secrets)."""

    def parse(response: httpx.Response) -> Result:
        try:
            value: Any = model.model_validate_json(response.content)  # type: ignore[attr-defined]
        except ValidationError as error:
            places = ", ".join(sorted({".".join(map(str, item["loc"])) or "body" for item in error.errors()})[:5])
            raise UnexpectedAnswer(
                f"the answer is not what this client version understands ({places})", status=response.status_code
            ) from None
        result: Result = value
        return result

    return parse


def nothing(_: httpx.Response) -> None:
    """For answers that say nothing but that it is done."""


def check(response: httpx.Response) -> None:
    """Raises the TaskgateApiError that the answer stands for; returns for a 2xx. The body must have been read."""
    if response.is_success:
        return
    if response.headers.get("content-type", "").split(";")[0].strip() == "application/problem+json":
        try:
            raise error_for(Problem.model_validate_json(response.content))
        except ValidationError:
            pass
    if response.is_redirect:
        raise UnexpectedAnswer("the URL leads elsewhere: give the gateway's own", status=response.status_code)
    raise UnexpectedAnswer(
        f"HTTP {response.status_code} from something that does not speak this API: is the URL the gateway's?",
        status=response.status_code,
    )


def unreachable(error: httpx.HTTPError, url: str) -> TaskgateApiError:
    """What a transport error means to the caller."""
    if isinstance(error, httpx.TimeoutException):
        return Unreachable(f"no answer from {url} in time ({type(error).__name__})")
    return Unreachable(f"cannot reach {url}: {error or type(error).__name__}")


def retry_after(call: Call[Any], attempt: int, failure: httpx.HTTPError | httpx.Response) -> float | None:
    """Seconds to wait before sending `call` again after `attempt` tries (1-based); None: do not.

    What was never sent is always sent again; what may have been done, only if doing it twice is harmless. Exponential
    with full jitter, so that many tasks woken at once do not come back at once.
    """
    pause = random.uniform(0.0, min(_LONGEST_PAUSE, 0.2 * 2**attempt))  # noqa: S311  no secret depends on it
    if isinstance(failure, httpx.Response):
        if not call.idempotent or failure.status_code not in _RETRIED_STATUS:
            return None
        asked = failure.headers.get("retry-after", "")
        return max(pause, min(float(asked), _LONGEST_PAUSE)) if asked.isdigit() else pause
    if isinstance(failure, _NOT_SENT):
        return pause
    return pause if call.idempotent and isinstance(failure, httpx.TransportError) else None
