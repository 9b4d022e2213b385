"""Results that were described before: the same description under the same mask plan means the same again.

A prepared statement is described anew for every portal, and a Query's result every time; what a plan makes of a
description, and how that reads to the client, is worked out once.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from taskgate.protocols.postgres import backend
from taskgate.protocols.postgres.rows import ResultMasker

if TYPE_CHECKING:
    from taskgate.masking.plan import MaskPlan

_MOST_REMEMBERED = 4096
_LARGEST = 16 * 1024  # bytes of a description that is worth remembering


class Described(NamedTuple):
    """`answer`: the RowDescription for the client, None where it is the target's own. `formats` of the target's."""

    masker: ResultMasker
    answer: bytes | None
    formats: tuple[int, ...]


def described(plan: MaskPlan, description: bytes, asked: tuple[int, ...] | None) -> Described:
    """What `plan` makes of a RowDescription message. `asked`: the client's format codes; None: those of the message.

    Raises TargetFault where it is malformed, MaskingFault where it does not fit the plan."""
    if len(description) > _LARGEST:
        return _described(plan, description, asked)
    # A plan has no equal but itself, and its place in the cache keeps it from being mistaken for a later one.
    return _remembered(plan, description, asked)


def _described(plan: MaskPlan, description: bytes, asked: tuple[int, ...] | None) -> Described:
    fields = backend.decode_row_description(description, 0, len(description))
    formats = tuple(field.format for field in fields)
    masker = ResultMasker(plan, fields)
    answer = backend.row_description(masker.described(formats if asked is None else asked))
    return Described(masker, None if answer == description else answer, formats)


_remembered = lru_cache(maxsize=_MOST_REMEMBERED)(_described)
