"""How a secrets backend says no, so that Airflow asks no other."""

from __future__ import annotations

from functools import cache
from typing import Any

__all__ = ["DENIAL_IS_AN_EXCEPTION", "AirflowSecretsBackendAccessDenied", "denied_on_the_api_server"]

try:
    from airflow.sdk.exceptions import AirflowSecretsBackendAccessDenied

    DENIAL_IS_AN_EXCEPTION = True
except ImportError:  # before task SDK 1.2.2

    class AirflowSecretsBackendAccessDenied(BaseException):  # type: ignore[no-redef]
        """Airflow's dispatcher catches every Exception here, and asks the next backend, in the end its own database
        with the real password. What is no Exception ends the task instead, as TaskDeferred does."""

    DENIAL_IS_AN_EXCEPTION = False


def denied_on_the_api_server(message: str) -> BaseException:
    """A denial that the API server makes 403 of. A plain one would be 500, which workers ask again for 15 seconds."""
    if not DENIAL_IS_AN_EXCEPTION:
        return AirflowSecretsBackendAccessDenied(message)  # made 403 by ApiServerMiddleware
    denial: BaseException = _http_denial()(message)
    return denial


@cache
def _http_denial() -> Any:
    from fastapi import HTTPException  # a server has it; a worker need not

    class ConnectionDenied(AirflowSecretsBackendAccessDenied, HTTPException):
        def __init__(self, message: str) -> None:
            HTTPException.__init__(self, 403, detail={"reason": "denied_by_taskgate", "message": message})
            self.message = message

        def __str__(self) -> str:
            return self.message

    return ConnectionDenied
