"""The target's settings that decide what a text means, as the target itself reports them.

`standard_conforming_strings` and `client_encoding` are pinned: every parser that reads a text offline assumes them, and
with either moved a harmless looking text can carry a second statement. The target reports them (ParameterStatus) before
every ReadyForQuery; a report that one has moved ends the session. `search_path` is reported from PostgreSQL 18 on, the
current role never: after anything that may have moved them they are asked for by a query of the gateway's own.
"""

from __future__ import annotations

import secrets

from taskgate.domain import Environment
from taskgate.errors import TargetFault
from taskgate.protocols.postgres import frontend
from taskgate.protocols.postgres.codec import message
from taskgate.sql.settings import PINNED

_REPORTS_SEARCH_PATH = 18
# Reported, but no setting of a session that a statement's meaning depends on.
_NOT_SETTINGS = frozenset({"application_name", "in_hot_standby", "is_superuser", "server_version", "search_path"})
_PROBE = (
    b"SELECT pg_catalog.current_setting('standard_conforming_strings'), pg_catalog.current_setting('client_encoding'),"
    b" pg_catalog.current_setting('search_path'), current_user::pg_catalog.text"
)


class PinnedSettingMoved(TargetFault):
    """A setting that the analysis relies on is not what it was set to."""

    sqlstate = "57P01"


class ServerSettings:
    """What the target's session is set to, as last heard."""

    def __init__(self, role: str) -> None:
        self.reported: dict[str, str] = {}
        self.search_path: str | None = None
        self.role = role
        self._at_start: dict[str, str] = {}

    @property
    def version(self) -> int:
        """The server's major version; 0 while it has not said."""
        digits = self.reported.get("server_version", "").split(".")[0].split(" ")[0]
        leading = "".join(character for character in digits if character.isdigit())
        return int(leading) if leading else 0

    @property
    def reports_search_path(self) -> bool:
        return self.version >= _REPORTS_SEARCH_PATH

    def started(self) -> None:
        """The session is ready: everything pinned has been reported, and this is what it starts from."""
        for name, value in PINNED.items():
            self._insist(name, self.reported.get(name, "?"), value)
        self._at_start = dict(self.reported)

    def report(self, name: str, value: str) -> None:
        """A ParameterStatus. Raises PinnedSettingMoved."""
        self.reported[name] = value
        if name in PINNED:
            self._insist(name, value, PINNED[name])
        elif name == "search_path":
            self.search_path = value

    def answered(self, cells: tuple[bytes | None, ...]) -> None:
        """The probe's row. Raises PinnedSettingMoved, TargetFault."""
        if len(cells) != 4 or None in cells:
            raise TargetFault("the target answered the gateway's own question with something else")
        strings, encoding, search_path, role = ((cell or b"").decode("utf-8", "replace") for cell in cells)
        self.report("standard_conforming_strings", strings)
        self.report("client_encoding", encoding)
        self.search_path, self.role = search_path, role

    def environment(self, catalog_version: int) -> Environment:
        moved = tuple(
            sorted(
                (name, value)
                for name, value in self.reported.items()
                if name not in _NOT_SETTINGS and self._at_start.get(name) != value
            )
        )
        return Environment(self.role, self.search_path or "", moved, catalog_version)

    @staticmethod
    def _insist(name: str, value: str, pinned: str) -> None:
        if value.lower() != pinned.lower():
            raise PinnedSettingMoved(
                f"taskgate: the session ends because {name} is {value!r} on the target",
                detail=f"Statements are judged as a server with {name}={pinned} reads them.",
                hint=f"Do not change {name}; look for ALTER ROLE … SET, ALTER DATABASE … SET, functions that do.",
            )


def probe() -> bytes:
    """The gateway's question, without the Sync or Flush that has to follow. Names nobody can have taken, so that the
    client's unnamed statement and portal stay what they are."""
    name = b"taskgate_settings_" + secrets.token_hex(8).encode()
    return b"".join(
        (
            frontend.Parse(name, _PROBE).encode(),
            frontend.Bind(name, name).encode(),
            message(b"E", name + b"\0\0\0\0\0"),
            frontend.close(b"P", name),
            frontend.close(b"S", name),
        )
    )
