"""The texts of the policies that were in force, each kept once: `<data_dir>/policies/<digest>.json`.

Headers name a policy version; a bundle carries its text, so that a reader sees what was decided by which words.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path

import orjson

from taskgate.errors import JournalFault
from taskgate.recording.keys import read_or_create

_SAFE = re.compile(r"[A-Za-z0-9._-]{1,128}\Z")


class PolicyTexts:
    def __init__(self, data_dir: Path) -> None:
        self._folder = data_dir / "policies"

    def keep(self, version: str, sources: Mapping[str, str]) -> None:
        """`sources`: path → text. Raises JournalFault."""
        text = orjson.dumps({"version": version, "sources": dict(sorted(sources.items()))}, option=orjson.OPT_INDENT_2)
        try:
            read_or_create(self._path(version), text)
        except OSError as error:
            raise JournalFault(f"taskgate: the policy's text cannot be kept: {error.strerror or error}") from error

    def get(self, version: str) -> bytes | None:
        """The file's bytes: JSON with `version` and `sources`."""
        try:
            return self._path(version).read_bytes()
        except FileNotFoundError:
            return None

    def _path(self, version: str) -> Path:
        return self._folder / f"{policy_file(version)}.json"


def policy_file(version: str) -> str:
    """The version where it can be a file's name, its SHA-256 where it cannot."""
    return version if _SAFE.match(version) and not version.startswith(".") else sha256(version.encode()).hexdigest()
