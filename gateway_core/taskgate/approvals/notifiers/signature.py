"""How a receiver knows that a delivery is ours and fresh: `Taskgate-Signature: t=<unix seconds>,v1=<hex>`, where v1 is
HMAC-SHA-256 over `<t>.<body>` under the endpoint's secret."""

from __future__ import annotations

import hashlib
import hmac
import re

HEADER = "Taskgate-Signature"
_FORM = re.compile(r"t=([0-9]{1,12}),v1=([0-9a-f]{64})")


def sign(secret: str, body: bytes, timestamp: int) -> str:
    """The header's value."""
    return f"t={timestamp},v1={_mac(secret, body, timestamp)}"


def verify(secret: str, body: bytes, header: str, now: float, tolerance: float = 300.0) -> bool:
    """For receivers: whether `header` signs `body` and is at most `tolerance` seconds old (or early)."""
    match = _FORM.fullmatch(header)
    if match is None or abs(now - int(match[1])) > tolerance:
        return False
    return hmac.compare_digest(match[2], _mac(secret, body, int(match[1])))


def _mac(secret: str, body: bytes, timestamp: int) -> str:
    return hmac.new(secret.encode(), str(timestamp).encode() + b"." + body, hashlib.sha256).hexdigest()
