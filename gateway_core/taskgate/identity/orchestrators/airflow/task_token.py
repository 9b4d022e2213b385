"""A task instance's own token: what Airflow signed when it started the attempt, and what it proves.

Only that Airflow has made it for the instance named in `sub`. Whether that instance exists and is running, which task
of which run it is, only Airflow itself can say (`rest.py`).
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from uuid import UUID

from joserfc import jwt
from joserfc.errors import ExpiredTokenError, JoseError, SecurityWarning
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey
from joserfc.jws import JWSRegistry, extract_compact

from taskgate.identity.orchestrators.airflow.signing_keys import SigningKeys, VerifyingKey
from taskgate.identity.orchestrators.faults import NotProven

# The name by which Airflow signs with Ed25519; its successor's name says no more about the key.
warnings.filterwarnings("ignore", message="EdDSA is deprecated", category=SecurityWarning)

LEEWAY = 10  # seconds, as Airflow's own jwt_leeway
_ASYMMETRIC: dict[type, list[str]] = {
    RSAKey: ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"],
    ECKey: ["ES256", "ES384", "ES512"],
    OKPKey: ["EdDSA", "Ed25519", "Ed448"],
}
_SYMMETRIC = ["HS256", "HS384", "HS512"]


@dataclass(frozen=True, slots=True)
class ProvenInstance:
    """`symmetric`: signed with a key that others hold too, so it proves no more than their word."""

    id: str
    symmetric: bool


class TaskTokens:
    """Verifies the tokens of one Airflow."""

    def __init__(self, keys: SigningKeys, *, audience: str, issuer: str | None) -> None:
        self._keys = keys
        options: dict[str, jwt.ClaimsOption] = {
            "aud": {"essential": True, "value": audience},
            "sub": {"essential": True},
            "exp": {"essential": True},
            "nbf": {"essential": True},
            "iat": {"essential": True},
        }
        if issuer is not None:
            options["iss"] = {"essential": True, "value": issuer}
        self._claims = jwt.JWTClaimsRegistry(None, LEEWAY, **options)

    async def verify(self, token: str) -> ProvenInstance:
        """Raises NotProven, without saying which part was wrong where that helps nobody but a forger."""
        try:
            header = extract_compact(token.encode()).headers()
            kid = header.get("kid")
            key = await self._keys.find(kid if isinstance(kid, str) else None)
            if key is None:
                raise _refused("it is signed with a key that this Airflow is not known to have")
            registry = JWSRegistry(algorithms=_algorithms(key))
            claims = jwt.decode(token, key, registry=registry).claims
            self._claims.validate(claims)
        except ExpiredTokenError:
            raise NotProven("task_token_expired", "the task's token has expired") from None
        except (JoseError, ValueError, TypeError, RecursionError):
            raise _refused("it is not one that this Airflow has signed for its tasks") from None
        if claims.get("scope", "execution") != "execution":
            raise _refused("it is not a running task's")
        return ProvenInstance(_uuid(claims["sub"]), self._keys.symmetric)


def _algorithms(key: VerifyingKey) -> list[str]:
    """By the key's own type, whatever the token says: a public key is never taken for a shared secret."""
    return _SYMMETRIC if isinstance(key, OctKey) else _ASYMMETRIC[type(key)]


def _uuid(subject: object) -> str:
    try:
        return str(UUID(str(subject)))
    except ValueError:
        raise _refused("it names no task instance") from None


def _refused(why: str) -> NotProven:
    return NotProven("task_token_invalid", f"the task's token is refused: {why}")
