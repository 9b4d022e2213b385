"""What can be wrong with a text before any question of policy. All of these refuse the statement, never the session."""

from __future__ import annotations

from taskgate.errors import ClientFault


class SyntaxFault(ClientFault):
    """PostgreSQL's grammar does not accept the text. `position` is 1-based, in characters; 0 when unknown."""

    sqlstate = "42601"

    def __init__(self, message: str, *, position: int = 0) -> None:
        super().__init__(message)
        self.position = position


class StatementTooComplex(ClientFault):
    """The text is longer, deeper or has more statements than the gateway analyses, so it is refused."""

    sqlstate = "54001"


class TextFault(ClientFault):
    """The text is not valid UTF-8 or holds a NUL character: no server would read it the way the gateway does."""

    sqlstate = "22021"
