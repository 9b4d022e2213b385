"""SCRAM-SHA-256 and SCRAM-SHA-256-PLUS, both sides, as PostgreSQL speaks them.

Source: RFC 5802, RFC 7677 and https://www.postgresql.org/docs/18/sasl-authentication.html. Our own because PostgreSQL's
clients send an empty user name, which a server by the letter of the RFC refuses, and because the derived keys of a
target are kept so that opening a session does not cost 4,096 rounds of hashing. SASLprep is scramp's.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import secrets
from collections import OrderedDict
from dataclasses import dataclass, field

from scramp.utils import ScramException, saslprep

from taskgate.errors import AuthenticationFault, ClientFault, TargetFault

MECHANISM = "SCRAM-SHA-256"
MECHANISM_PLUS = "SCRAM-SHA-256-PLUS"
BINDING = b"p=tls-server-end-point,,"

_NONCE = re.compile(rb"[\x21-\x2b\x2d-\x7e]{8,512}")
_VERIFIER = re.compile(r"SCRAM-SHA-256\$([1-9]\d{0,8}):([A-Za-z0-9+/=]+)\$([A-Za-z0-9+/=]+):([A-Za-z0-9+/=]+)")
_KEPT_KEYS = 1_000


def _hmac(key: bytes, text: bytes) -> bytes:
    return hmac.digest(key, text, "sha256")


def _xor(left: bytes, right: bytes) -> bytes:
    """Of two digests."""
    return (int.from_bytes(left, "big") ^ int.from_bytes(right, "big")).to_bytes(32, "big")


def _decode(text: bytes) -> bytes | None:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        return None


def _prepared(password: str) -> bytes:
    """PostgreSQL hashes the password as it is where SASLprep does not accept it."""
    try:
        prepared: str = saslprep(password)
    except ScramException:
        prepared = password
    return prepared.encode()


@dataclass(frozen=True, slots=True)
class Verifier:
    """What proves a password without holding it: the parts of `SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey`."""

    iterations: int
    salt: bytes
    stored_key: bytes = field(repr=False)
    server_key: bytes = field(repr=False)

    @classmethod
    def parse(cls, text: str) -> Verifier | None:
        matched = _VERIFIER.fullmatch(text)
        if not matched:
            return None
        salt, stored, server = (_decode(matched[i].encode()) for i in (2, 3, 4))
        if salt is None or stored is None or server is None or len(stored) != 32 or len(server) != 32:
            return None
        return cls(int(matched[1]), salt, stored, server)

    @classmethod
    def of(cls, password: str, *, iterations: int = 4096, salt: bytes | None = None) -> Verifier:
        salt = salt or secrets.token_bytes(16)
        keys = ClientKeys.derive(password, salt, iterations)
        return cls(iterations, salt, hashlib.sha256(keys.client_key).digest(), keys.server_key)

    def __str__(self) -> str:
        salt, stored, server = (
            base64.b64encode(part).decode() for part in (self.salt, self.stored_key, self.server_key)
        )
        return f"SCRAM-SHA-256${self.iterations}:{salt}${stored}:{server}"


class MockVerifiers:
    """For user names that do not exist: the exchange looks the same, the salt stays the same, no password fits."""

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)

    def verifier(self, user: str) -> Verifier:
        name = user.encode()
        return Verifier(4096, _hmac(self._key, b"salt" + name)[:16], secrets.token_bytes(32), secrets.token_bytes(32))


class ServerExchange:
    """The gateway proves a client. `known` false: a mock verifier; the proof then never holds, on the same path.

    `binding`: the tls-server-end-point data of our own certificate where the client came over TLS and we know it.
    """

    def __init__(self, verifier: Verifier, *, known: bool, binding: bytes | None = None) -> None:
        self._verifier = verifier
        self._known = known
        self._binding = binding
        self._nonce = b""
        self._auth = b""
        self._header = b""

    @property
    def mechanisms(self) -> tuple[str, ...]:
        return (MECHANISM_PLUS, MECHANISM) if self._binding is not None else (MECHANISM,)

    def first(self, mechanism: str, client_first: bytes) -> bytes:
        """The client-first-message → the server-first-message."""
        if mechanism not in self.mechanisms:
            raise ClientFault("client selected an invalid SASL authentication mechanism")
        parts = client_first.split(b",", 2)
        if len(parts) != 3 or parts[1] != b"":
            raise ClientFault("malformed SCRAM message: no GS2 header")
        self._header = parts[0] + b",,"
        plus = mechanism == MECHANISM_PLUS
        if plus and self._header != BINDING:
            raise ClientFault("malformed SCRAM message: channel binding of another type")
        if not plus and self._header not in (b"n,,", b"y,,"):
            raise ClientFault("malformed SCRAM message: unexpected channel binding flag")
        if not plus and self._binding is not None and self._header == b"y,,":
            # The client believes that we cannot bind channels: somebody between us took the offer away.
            raise AuthenticationFault("SCRAM channel binding negotiation error")
        attributes = parts[2].split(b",")
        if len(attributes) < 2 or attributes[0][:2] != b"n=" or attributes[1][:2] != b"r=":
            raise ClientFault("malformed SCRAM message: user name and nonce expected")
        if not _NONCE.fullmatch(attributes[1][2:]):
            raise ClientFault("malformed SCRAM message: an impossible nonce")
        self._nonce = attributes[1][2:] + base64.b64encode(secrets.token_bytes(18))
        salt = base64.b64encode(self._verifier.salt)
        answer = b"r=%s,s=%s,i=%d" % (self._nonce, salt, self._verifier.iterations)
        self._auth = parts[2] + b"," + answer + b","
        return answer

    def final(self, client_final: bytes) -> bytes:
        """The client-final-message → the server-final-message. AuthenticationFault when the proof does not hold."""
        bare, separator, proof_text = client_final.rpartition(b",p=")
        attributes = bare.split(b",")
        proof = _decode(proof_text)
        if not separator or len(attributes) < 2 or proof is None or len(proof) != 32:
            raise ClientFault("malformed SCRAM message: channel binding, nonce and proof expected")
        bound = self._header + (self._binding or b"" if self._header == BINDING else b"")
        if attributes[0] != b"c=" + base64.b64encode(bound):
            raise AuthenticationFault("SCRAM channel binding check failed")
        if attributes[1] != b"r=" + self._nonce:
            raise ClientFault("malformed SCRAM message: another nonce")
        auth = self._auth + bare
        client_key = _xor(proof, _hmac(self._verifier.stored_key, auth))
        proven = hmac.compare_digest(hashlib.sha256(client_key).digest(), self._verifier.stored_key)
        if not (proven and self._known):
            raise AuthenticationFault("password authentication failed")
        return b"v=" + base64.b64encode(_hmac(self._verifier.server_key, auth))


@dataclass(frozen=True, slots=True)
class ClientKeys:
    """What a password comes down to for one salt and iteration count. As good as the password: never shown."""

    client_key: bytes = field(repr=False)
    server_key: bytes = field(repr=False)

    @classmethod
    def derive(cls, password: str, salt: bytes, iterations: int) -> ClientKeys:
        salted = hashlib.pbkdf2_hmac("sha256", _prepared(password), salt, iterations)
        return cls(_hmac(salted, b"Client Key"), _hmac(salted, b"Server Key"))


class KeyCache:
    """Derived keys of targets' passwords, so that only the first session to a target pays for the derivation."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[bytes, bytes, int], ClientKeys] = OrderedDict()
        self._key = secrets.token_bytes(32)

    def keys(self, password: str, salt: bytes, iterations: int) -> ClientKeys:
        entry = (_hmac(self._key, password.encode()), salt, iterations)
        keys = self._kept.get(entry)
        if keys is None:
            keys = self._kept[entry] = ClientKeys.derive(password, salt, iterations)
            if len(self._kept) > _KEPT_KEYS:
                self._kept.popitem(last=False)
        return keys


class ClientExchange:
    """The gateway proves itself to a target, and the target itself to the gateway.

    `binding`: tls-server-end-point data of the target's certificate; with it the target has to offer the PLUS mechanism
    or the client says so ("y"), so that a middleman cannot take the offer away unseen.
    """

    def __init__(self, password: str, keys: KeyCache, *, binding: bytes | None, most_iterations: int) -> None:
        self._password = password
        self._keys = keys
        self._binding = binding
        self._most_iterations = most_iterations
        self._nonce = base64.b64encode(secrets.token_bytes(18))
        self._bare = b"n=,r=" + self._nonce
        self._header = b"n,,"
        self._signature = b""

    def first(self, offered: tuple[str, ...]) -> tuple[str, bytes]:
        """Mechanisms offered → the one chosen and the client-first-message."""
        if self._binding is not None and MECHANISM_PLUS in offered:
            self._header = BINDING
            return MECHANISM_PLUS, self._header + self._bare
        if MECHANISM not in offered:
            raise TargetFault("the target offers no SCRAM-SHA-256 authentication")
        self._header = b"n,," if self._binding is None else b"y,,"
        return MECHANISM, self._header + self._bare

    def final(self, server_first: bytes) -> bytes:
        """The server-first-message → the client-final-message."""
        attributes = server_first.split(b",")
        if len(attributes) < 3 or [item[:2] for item in attributes[:3]] != [b"r=", b"s=", b"i="]:
            raise TargetFault("malformed SCRAM message from the target")
        nonce, salt, count = attributes[0][2:], _decode(attributes[1][2:]), attributes[2][2:]
        if not _NONCE.fullmatch(nonce) or not nonce.startswith(self._nonce) or len(nonce) <= len(self._nonce):
            raise TargetFault("malformed SCRAM message from the target: an impossible nonce")
        if not salt or len(salt) > 1024 or not count.isdigit() or len(count) > 9:
            raise TargetFault("malformed SCRAM message from the target: salt or iteration count")
        iterations = int(count)
        if not 1 <= iterations <= self._most_iterations:
            raise TargetFault(
                f"the target asks for {iterations} SCRAM iterations, at most {self._most_iterations} are done"
            )
        keys = self._keys.keys(self._password, salt, iterations)
        bound = self._header + (self._binding or b"" if self._header == BINDING else b"")
        bare = b"c=" + base64.b64encode(bound) + b",r=" + nonce
        auth = self._bare + b"," + server_first + b"," + bare
        proof = _xor(keys.client_key, _hmac(hashlib.sha256(keys.client_key).digest(), auth))
        self._signature = _hmac(keys.server_key, auth)
        return bare + b",p=" + base64.b64encode(proof)

    def verify(self, server_final: bytes) -> None:
        """The server-final-message has to prove that the target knows the password as well."""
        signature = _decode(server_final[2:]) if server_final[:2] == b"v=" else None
        if signature is None or not self._signature or not hmac.compare_digest(signature, self._signature):
            raise TargetFault("the target did not prove that it knows the password")
