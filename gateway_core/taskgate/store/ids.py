"""Identifiers: a type prefix and a UUIDv7 in hex (`ses_0199aa…`), sorting roughly by time. Nothing relies on that.

Nothing, that is, but the order of pages: it only has to be total and steady.
"""

from __future__ import annotations

import re
from enum import StrEnum

from uuid_utils import uuid7


class IdPrefix(StrEnum):
    CREDENTIAL = "tg"
    API_KEY = "tgk"
    RUN = "tgr"
    APPROVAL = "apr"
    SESSION = "ses"
    PROCESS = "gwp"
    NOTIFICATION = "ntf"


_BODY = re.compile(r"[0-9a-f]{32}\Z")


def new_id(prefix: IdPrefix) -> str:
    return f"{prefix}_{uuid7().hex}"


def is_id(prefix: IdPrefix, text: str) -> bool:
    """Whether `text` has the form of such an identifier: the check before anything a client sent reaches the store."""
    head, separator, body = text.partition("_")
    return bool(separator) and head == prefix and _BODY.match(body) is not None
