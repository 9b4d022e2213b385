"""All secret sources by scheme: the gateway's own and those of entry points."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.metadata import entry_points

from taskgate.errors import SettingsError
from taskgate.secrets.environment import EnvironmentSource
from taskgate.secrets.file import FileSource
from taskgate.secrets.secret import Secret
from taskgate.secrets.source import SecretFault, SecretSource

ENTRY_POINT_GROUP = "taskgate.secrets"
_REFERENCE = re.compile(r"([a-z][a-z0-9+.-]*):(.+)", re.DOTALL)


class SecretSources:
    """`more` are sources beside the built-in ones, by scheme; those of entry points are loaded at their first use."""

    def __init__(self, more: Mapping[str, SecretSource] | None = None) -> None:
        self._sources: dict[str, SecretSource] = {"env": EnvironmentSource(), "file": FileSource(), **(more or {})}

    def check(self, reference: str) -> None:
        """Raises SettingsError where no source can serve this reference. Fetches nothing."""
        self._split(reference)

    async def fetch(self, reference: str) -> Secret:
        """Raises SecretFault (a GatewayFault), which never holds a value; SettingsError for an unusable reference."""
        scheme, name = self._split(reference)
        try:
            return await self._sources[scheme].fetch(name)
        except SecretFault:
            raise
        except Exception as error:  # noqa: BLE001
            # A foreign source's own words might quote what it holds: only their kind is passed on.
            raise SecretFault(f"The secret source {scheme!r} failed: {type(error).__name__}.") from None

    def _split(self, reference: str) -> tuple[str, str]:
        match = _REFERENCE.fullmatch(reference)
        if match is None:
            # The text may be the secret itself, written where its reference belongs: it is not quoted.
            raise SettingsError("A secret is given as source:name, such as env:NAME or file:/path.")
        scheme, name = match.groups()
        if scheme not in self._sources:
            self._sources[scheme] = _load(scheme)
        return scheme, name


def _load(scheme: str) -> SecretSource:
    found = tuple(entry_points(group=ENTRY_POINT_GROUP, name=scheme))
    if len(found) > 1:
        raise SettingsError(f"Several packages serve secrets of {scheme!r}: {', '.join(p.value for p in found)}.")
    if not found:
        raise SettingsError("There is no such secret source.", hint="Built in are env: and file:.")
    source: SecretSource = found[0].load()()
    return source
