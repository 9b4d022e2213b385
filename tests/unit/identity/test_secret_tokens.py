from __future__ import annotations

import base64
import re

import pytest

from taskgate.identity.secret_tokens import (
    SCRAM_ITERATIONS,
    matches,
    new_secret,
    scram_verifier,
    secret_hash,
    split_token,
)


def test_secrets_are_256_random_bits_of_harmless_characters() -> None:
    made = {new_secret() for _ in range(100)}
    assert len(made) == 100
    for secret in made:
        assert re.fullmatch(r"[A-Za-z0-9_-]{43}", secret)
        assert len(base64.urlsafe_b64decode(secret + "=")) == 32


def test_only_the_secret_matches_its_hash() -> None:
    assert matches("a", secret_hash("a"))
    assert not matches("b", secret_hash("a"))
    assert not matches(secret_hash("a"), secret_hash("a"))


def test_scram_verifier_has_postgresqls_form_and_a_fresh_salt() -> None:
    one, other = scram_verifier("secret"), scram_verifier("secret")
    assert one != other
    match = re.fullmatch(r"SCRAM-SHA-256\$(\d+):([^$]+)\$([^:]+):(.+)", one)
    assert match
    assert int(match[1]) == SCRAM_ITERATIONS == 4096
    assert [len(base64.b64decode(match[group])) for group in (2, 3, 4)] == [16, 32, 32]


@pytest.mark.parametrize("token", ["", ".", "a.", ".b", "a", "a.b.c", "a..b"])
def test_what_is_no_token(token: str) -> None:
    parts = split_token(token)
    assert parts is None or parts[0] == ""


def test_token() -> None:
    assert split_token("tgk_1.secret") == ("tgk_1", "secret")
