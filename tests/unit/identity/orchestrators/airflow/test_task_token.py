"""AL-04 for tasks: which tokens prove that a task instance is who it says."""

from __future__ import annotations

import base64
import json
import time
from pathlib import Path
from uuid import uuid4

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from taskgate.identity.orchestrators.airflow.signing_keys import KeySetFile, PublicKeyFile, SharedSecret
from taskgate.identity.orchestrators.airflow.task_token import LEEWAY, TaskTokens
from taskgate.identity.orchestrators.faults import NotProven
from taskgate.secrets.secret import Secret
from tests.unit.identity.orchestrators.airflow.signing import AUDIENCE, claims, public_pem, rsa_key, token, write_jwks

KEY = rsa_key()
OTHER = rsa_key()


@pytest.fixture
def tokens(tmp_path: Path) -> TaskTokens:
    keys = write_jwks(tmp_path / "jwks.json", k1=KEY, k2=ed25519.Ed25519PrivateKey.generate())
    return TaskTokens(KeySetFile(keys), audience=AUDIENCE, issuer=None)


async def refused(tokens: TaskTokens, text: str) -> str:
    with pytest.raises(NotProven) as caught:
        await tokens.verify(text)
    assert text not in str(caught.value)
    return caught.value.code


async def test_airflows_own_token_is_understood(tmp_path: Path) -> None:
    from airflow.api_fastapi.auth.tokens import JWTGenerator

    instance = str(uuid4())
    for key in (KEY, ed25519.Ed25519PrivateKey.generate()):
        made = JWTGenerator(private_key=key, valid_for=600, audience=AUDIENCE, issuer=None, algorithm="GUESS", kid="a")
        text = made.generate({"sub": instance, "scope": "execution"})
        path = tmp_path / "public.pem"
        path.write_bytes(public_pem(key))
        by_file = TaskTokens(PublicKeyFile(path), audience=AUDIENCE, issuer=None)
        by_set = TaskTokens(KeySetFile(write_jwks(tmp_path / "jwks.json", a=key)), audience=AUDIENCE, issuer=None)
        for one in (by_file, by_set):
            proven = await one.verify(text)
            assert (proven.id, proven.symmetric) == (instance, False)


async def test_every_kind_of_key_serves(tmp_path: Path) -> None:
    for number, key in enumerate((KEY, ed25519.Ed25519PrivateKey.generate(), ec.generate_private_key(ec.SECP256R1()))):
        path = tmp_path / f"{number}.pem"
        path.write_bytes(public_pem(key))
        tokens = TaskTokens(PublicKeyFile(path), audience=AUDIENCE, issuer=None)
        assert (await tokens.verify(token(key))).symmetric is False


async def test_a_token_without_scope_is_a_running_tasks(tokens: TaskTokens) -> None:
    """Airflow's own rule: no scope means execution."""
    await tokens.verify(token(KEY, scope=None))


@pytest.mark.parametrize(
    "other",
    [
        {"aud": "apache-airflow"},  # a person's, for the REST API, signed with the same key
        {"aud": None},
        {"scope": "workload"},  # one that waits in a queue, not one that runs
        {"scope": ["execution"]},
        {"sub": None},
        {"sub": "1"},
        {"sub": 7},
        {"exp": None},
        {"nbf": None},
        {"iat": None},
        {"nbf": int(time.time()) + 120},
        {"exp": "soon"},
    ],
    ids=str,
)
async def test_claims_that_do_not_fit(tokens: TaskTokens, other: dict[str, object]) -> None:
    header = {"alg": "RS256", "kid": "k1", "typ": "JWT"}
    signed = jwt.api_jws.encode(json.dumps(claims(**other)).encode(), KEY, "RS256", headers=header)
    assert await refused(tokens, signed) == "task_token_invalid"


async def test_an_expired_token_is_named_so_after_the_leeway(tokens: TaskTokens) -> None:
    now = int(time.time())
    await tokens.verify(token(KEY, exp=now - LEEWAY + 5))
    assert await refused(tokens, token(KEY, exp=now - LEEWAY - 5)) == "task_token_expired"


async def test_the_issuer_counts_where_it_is_configured(tmp_path: Path) -> None:
    keys = KeySetFile(write_jwks(tmp_path / "jwks.json", k1=KEY))
    tokens = TaskTokens(keys, audience=AUDIENCE, issuer="https://airflow")
    await tokens.verify(token(KEY, iss="https://airflow"))
    assert await refused(tokens, token(KEY, iss="https://other")) == "task_token_invalid"
    assert await refused(tokens, token(KEY)) == "task_token_invalid"


async def test_al_04_signatures_of_others(tokens: TaskTokens) -> None:
    for forged in (
        token(OTHER),
        token(OTHER, kid="unknown"),
        token(KEY, kid="unknown"),
        token(KEY, kid=None),
        token(KEY, kid="k2"),  # another key of the set, of another kind
        token(KEY, kid="../../../../dev/null"),
        token(OTHER, headers={"jku": "http://127.0.0.1:1/jwks.json"}),
        token(OTHER, headers={"jwk": {"kty": "oct", "k": "AAAA"}}),
        token(OTHER, headers={"x5u": "http://127.0.0.1:1/cert.pem"}),
    ):
        assert await refused(tokens, forged) == "task_token_invalid"


async def test_al_04_a_public_key_is_never_a_shared_secret(tmp_path: Path) -> None:
    path = tmp_path / "public.pem"
    path.write_bytes(public_pem(KEY))
    tokens = TaskTokens(PublicKeyFile(path), audience=AUDIENCE, issuer=None)
    header, body = {"alg": "HS256", "kid": "k1"}, claims()
    unsigned = ".".join(
        base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in (header, body)
    )
    import hashlib
    import hmac

    for secret in (public_pem(KEY), public_pem(KEY).strip()):
        signature = base64.urlsafe_b64encode(hmac.new(secret, unsigned.encode(), hashlib.sha256).digest()).rstrip(b"=")
        assert await refused(tokens, f"{unsigned}.{signature.decode()}") == "task_token_invalid"


async def test_al_04_no_algorithm_at_all(tokens: TaskTokens) -> None:
    none = jwt.encode(claims(), None, algorithm="none", headers={"kid": "k1"})
    assert await refused(tokens, none) == "task_token_invalid"
    assert await refused(tokens, none + "AAAA") == "task_token_invalid"


@pytest.mark.parametrize("text", ["", ".", "..", "a.b.c", "é.é.é", "{}", "a" * 8000, "e30.e30.", "e30.e30.e30"])
async def test_what_is_no_token(tokens: TaskTokens, text: str) -> None:
    with pytest.raises(NotProven):
        await tokens.verify(text)


async def test_a_changed_body_is_noticed(tokens: TaskTokens) -> None:
    head, _, signature = token(KEY).split(".")
    body = base64.urlsafe_b64encode(json.dumps(claims()).encode()).rstrip(b"=").decode()
    assert await refused(tokens, f"{head}.{body}.{signature}") == "task_token_invalid"


async def test_a_shared_secret_proves_no_more_than_its_holders_word() -> None:
    secret = "s" * 64
    tokens = TaskTokens(SharedSecret(Secret(secret)), audience=AUDIENCE, issuer=None)
    assert (await tokens.verify(token(secret, kid="not-used"))).symmetric is True
    assert await refused(tokens, token("t" * 64)) == "task_token_invalid"
    assert await refused(tokens, token(KEY)) == "task_token_invalid"
