"""SCRAM, both sides: against each other, against another implementation, and against cheats."""

from __future__ import annotations

import pytest
from scramp import ScramMechanism

from taskgate.errors import AuthenticationFault, ClientFault, TargetFault
from taskgate.protocols.postgres.scram import (
    MECHANISM,
    MECHANISM_PLUS,
    ClientExchange,
    ClientKeys,
    KeyCache,
    MockVerifiers,
    ServerExchange,
    Verifier,
)


def run(server: ServerExchange, client: ClientExchange) -> None:
    mechanism, first = client.first(server.mechanisms)
    client.verify(server.final(client.final(server.first(mechanism, first))))


def client_of(password: str, binding: bytes | None = None) -> ClientExchange:
    return ClientExchange(password, KeyCache(), binding=binding, most_iterations=100_000)


@pytest.mark.parametrize("password", ["secret", "pässwörd", "a\u00adb", "\u0007bell", "x" * 1000])
@pytest.mark.parametrize("binding", [None, b"certificate hash"])
def test_the_right_password(password: str, binding: bytes | None) -> None:
    run(ServerExchange(Verifier.of(password), known=True, binding=binding), client_of(password, binding))


def test_the_wrong_password() -> None:
    with pytest.raises(AuthenticationFault):
        run(ServerExchange(Verifier.of("secret"), known=True), client_of("Secret"))


def test_a_mock_never_accepts_even_a_proof_that_holds() -> None:
    with pytest.raises(AuthenticationFault):
        run(ServerExchange(Verifier.of("secret"), known=False), client_of("secret"))


def test_mocks_have_a_stable_salt() -> None:
    mocks = MockVerifiers()
    assert mocks.verifier("a").salt == mocks.verifier("a").salt != mocks.verifier("b").salt
    assert MockVerifiers().verifier("a").salt != mocks.verifier("a").salt


def test_our_client_against_scramp() -> None:
    mechanism = ScramMechanism(MECHANISM)
    salt, stored, server_key, iterations = mechanism.make_auth_info("secret", iteration_count=4096)
    assert Verifier.of("secret", iterations=iterations, salt=salt) == Verifier(iterations, salt, stored, server_key)


def test_a_bound_channel_cannot_be_swapped() -> None:
    server = ServerExchange(Verifier.of("x"), known=True, binding=b"ours")
    with pytest.raises(AuthenticationFault, match="channel binding"):
        run(server, client_of("x", b"a middleman's"))


def test_an_offer_cannot_be_taken_away() -> None:
    server = ServerExchange(Verifier.of("x"), known=True, binding=b"ours")
    mechanism, first = client_of("x", b"ours").first((MECHANISM,))
    assert first.startswith(b"y,,")
    with pytest.raises(AuthenticationFault, match="negotiation"):
        server.first(mechanism, first)


def test_verifiers_read_as_postgresql_writes_them() -> None:
    verifier = Verifier.of("secret")
    assert Verifier.parse(str(verifier)) == verifier
    for broken in (
        "",
        "md5abc",
        "SCRAM-SHA-256$0:a$b:c",
        "SCRAM-SHA-256$4096:!!!!$AAAA:BBBB",
        str(verifier)[:-9],
        str(verifier) + "x",
    ):
        assert Verifier.parse(broken) is None


def test_nothing_shows_a_key() -> None:
    keys = ClientKeys.derive("secret", b"salt" * 4, 4096)
    for shown in (repr(keys), repr(Verifier.of("secret"))):
        assert "key=" not in shown.replace("stored_key", "").replace("server_key", "")
        assert keys.client_key.hex() not in shown


def test_the_cache_derives_once(monkeypatch: pytest.MonkeyPatch) -> None:
    derived: list[str] = []
    real = ClientKeys.derive

    def counting(password: str, salt: bytes, iterations: int) -> ClientKeys:
        derived.append(password)
        return real(password, salt, iterations)

    monkeypatch.setattr(ClientKeys, "derive", counting)
    cache = KeyCache()
    for _ in range(3):
        cache.keys("secret", b"salt", 4096)
    assert derived == ["secret"]
    cache.keys("secret", b"pepper", 4096)
    cache.keys("another", b"salt", 4096)
    assert len(derived) == 3


def test_mechanisms() -> None:
    with pytest.raises(TargetFault):
        client_of("x").first(("SCRAM-SHA-1",))
    with pytest.raises(TargetFault):
        client_of("x").first((MECHANISM_PLUS,))
    with pytest.raises(ClientFault):
        ServerExchange(Verifier.of("x"), known=True).first("PLAIN", b"n,,n=,r=abcdefghijkl")
