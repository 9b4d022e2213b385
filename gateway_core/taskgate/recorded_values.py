"""A bound parameter as a record holds it (`recording.records.RecordedParameter`), in words for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from taskgate.postgres_values import NAMES, reading
from taskgate.visible import is_shown

_BARE = frozenset({16, 20, 21, 23, 700, 701})  # written without quotes: booleans and numbers


def shown(value: Mapping[str, Any]) -> str:
    """`'text'`, `7`, `NULL`, `[masked by …]`; bytes that are not surely read are marked: `\\x00ff (bytes, hex)`."""
    if value.get("masked"):
        return f"[masked by {value['masked']}]"
    if value.get("text") is not None:
        return _quoted(str(value["text"]))
    if value.get("hex") is None:
        return "NULL"
    type_oid = value.get("type_oid")
    try:
        raw = bytes.fromhex(str(value["hex"]))
    except ValueError:  # no gateway wrote this
        return f"{value['hex']} (no hex)"
    return _bytes(raw, type_oid if isinstance(type_oid, int) else 0, binary=value.get("format") == 1)


def _bytes(raw: bytes, type_oid: int, *, binary: bool) -> str:
    if binary and (known := reading(type_oid, raw)) is not None:
        return known if type_oid in _BARE else _quoted(known)
    if binary and not type_oid and (text := _as_text(raw)):
        return f"{_quoted(text)} (bytes that read as text, type not recorded)"
    kind = NAMES.get(type_oid) or (f"type {type_oid}" if type_oid else "")
    return f"\\x{raw.hex()} (bytes, hex{f', {kind}' if kind else ''})"


def _as_text(raw: bytes) -> str | None:
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        return None
    return text if all(map(is_shown, text)) else None


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
