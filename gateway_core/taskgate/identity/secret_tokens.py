"""Random secrets of 256 bits and what is stored of them.

A plain SHA-256 is the right verifier for these: nobody guesses 256 random bits, so there is nothing for a slow hash to
slow down. SCRAM needs PBKDF2 because its protocol says so; see `scram_verifier`.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets

import scramp

SCRAM_ITERATIONS = 4096
"""RFC 7677's minimum, and PostgreSQL's default. Iterations protect guessable passwords and add nothing to 256 random
bits, so fewer would be as safe; but drivers (the JDBC one) refuse fewer. They cost the client about a millisecond a
connection, as with any PostgreSQL server; the gateway pays only when it issues."""


def new_secret() -> str:
    """43 characters of base64url: passes through URLs, headers, shells and SASLprep unchanged."""
    return secrets.token_urlsafe(32)


def secret_hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def matches(secret: str, stored_hash: str) -> bool:
    """In constant time."""
    return hmac.compare_digest(secret_hash(secret), stored_hash)


def scram_verifier(secret: str) -> str:
    """PostgreSQL's form (`pg_authid.rolpassword`): `SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>`."""
    mechanism = scramp.ScramMechanism("SCRAM-SHA-256")
    salt, stored_key, server_key, iterations = mechanism.make_auth_info(
        secret, iteration_count=SCRAM_ITERATIONS, salt=secrets.token_bytes(16)
    )
    salt, stored_key, server_key = (base64.b64encode(part).decode() for part in (salt, stored_key, server_key))
    return f"SCRAM-SHA-256${iterations}:{salt}${stored_key}:{server_key}"


def split_token(token: str) -> tuple[str, str] | None:
    """`<id>.<secret>`, as API keys and bearer credentials are presented; None where it is not of that form."""
    identifier, separator, secret = token.partition(".")
    return (identifier, secret) if separator and secret and "." not in secret else None
