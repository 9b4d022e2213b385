"""What a value becomes. All maskers take the value's text (UTF-8 bytes as PostgreSQL prints it) and give text or NULL.

- `redact`: the constant `[redacted]`.
- `null`: NULL.
- `hash`: the first 32 hex digits of HMAC-SHA-256 under the gateway's key, so that equal values stay equal (joins in the
  client still work) and nobody without the key can try values.
- `partial`: `****` and the last four letters or digits, but never more than half of them. Of an e-mail address the
  domain stays, nothing of the local part. How long the value was does not show. A value that is not UTF-8 is redacted.

SQL NULL stays NULL under every mask: absence of a value is visible.
"""

from __future__ import annotations

import hmac

from taskgate.domain import MaskKind, MaskRule

PLACEHOLDER = b"[redacted]"
_HIDDEN = "****"


def mask(kind: MaskKind, value: bytes, hash_key: bytes) -> bytes | None:
    """`value` masked; None is NULL. An unknown kind is treated as the strictest."""
    if kind is MaskKind.REDACT:
        return PLACEHOLDER
    if kind is MaskKind.HASH:
        return hmac.digest(hash_key, value, "sha256").hex()[:32].encode()
    if kind is MaskKind.PARTIAL:
        return partial(value)
    return None


def partial(value: bytes) -> bytes:
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return PLACEHOLDER
    local, at, domain = text.strip().rpartition("@")
    if at and local and "." in domain and "@" not in local and not any(c.isspace() for c in domain):
        return f"{_HIDDEN}@{domain}".encode()
    letters = [character for character in text if character.isalnum()]
    shown = min(4, len(letters) // 2)
    return (_HIDDEN + "".join(letters[len(letters) - shown :])).encode()


def strictest(*rules: MaskRule | None) -> MaskRule | None:
    """The rule whose mask hides most (null > redact > hash > partial); the first of equals. None: no rule at all."""
    found: MaskRule | None = None
    for rule in rules:
        if rule is not None and (found is None or rule.kind.strictness > found.kind.strictness):
            found = rule
    return found


def at_least_redacted(rule: MaskRule) -> MaskRule:
    """For values derived from a masked one: a part of it, or a hash of a part, would give it away piece by piece."""
    if rule.kind.strictness >= MaskKind.REDACT.strictness:
        return rule
    return MaskRule(rule.id, MaskKind.REDACT, rule.predicates, rule.flows)
