"""What a human's decision is about, as one number: HMAC-SHA-256 over everything that was shown and everything that
could change what it means. A grant is for this digest and nothing else.

The text under the HMAC is JSON of one fixed shape (sorted keys, no spaces, ASCII), every value at a place of its own
and of one type, so that two different actions never give the same text. Wire values are base64, NULL is null.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from taskgate.domain import Action, Facts, Parameter, Target

VERSION = "taskgate approval v1"
_NONE: Mapping[str, Any] = MappingProxyType({})


class ActionDigest:
    """`key` is `ApprovalKeys.digest`. Keyed, so that a digest in a log tells nothing about guessable parameters."""

    def __init__(self, key: bytes) -> None:
        if len(key) < 32:
            raise ValueError("a digest key has at least 32 bytes")
        self._key = key

    def of(
        self, action: Action, *, target: Target, policy_version: str, owner_key: str, row_bound: int | None,
        owner_facts: Mapping[str, Any] = _NONE,
    ) -> str:  # fmt: skip
        """64 hex digits. The action's parameters must be bound: without them there is nothing to decide about."""
        text = canonical(
            action, target=target, policy_version=policy_version, owner_key=owner_key, row_bound=row_bound,
            owner_facts=owner_facts,
        )  # fmt: skip
        return hmac.new(self._key, text, hashlib.sha256).hexdigest()


def digest(key: bytes, action: Action, **context: Any) -> str:
    return ActionDigest(key).of(action, **context)


def canonical(
    action: Action, *, target: Target, policy_version: str, owner_key: str, row_bound: int | None,
    owner_facts: Mapping[str, Any] = _NONE,
) -> bytes:  # fmt: skip
    """What the HMAC is taken of. `owner_facts`: `Principal.owner_facts`."""
    if action.parameters is None:
        raise ValueError("an action without bound parameters has no digest")
    environment = action.environment
    facts: dict[str, Any] = {
        "version": VERSION,
        "target": target.name,
        "target_digest": target.digest(),
        "role": environment.role,
        "search_path": environment.search_path,
        "settings": sorted([name, value] for name, value in environment.settings),
        "catalog_version": environment.catalog_version,
        "protocol": action.protocol,
        "text": action.text,
        "parameters": [_parameter(parameter) for parameter in action.parameters],
        "parameter_types": list(action.parameter_types),
        "statements": [_statement(facts) for facts in action.facts],
        "streams": action.streams,
        "row_bound": row_bound,
        "policy_version": policy_version,
        "owner_key": owner_key,
    }
    if owner_facts:
        facts["owner_facts"] = dict(owner_facts)
    return json.dumps(facts, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False).encode()


def _parameter(parameter: Parameter) -> list[Any]:
    value = None if parameter.value is None else base64.b64encode(parameter.value).decode()
    return [parameter.type_oid, parameter.format, value]


def _statement(facts: Facts) -> list[Any]:
    """What the approver is told the statement does: the catalogue may change it while the text stays."""
    return [facts.complete, sorted([pair.effect, pair.object, pair.resolved] for pair in facts.pairs)]
