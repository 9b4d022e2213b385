"""A client's way in: encryption requests, the startup packet, the proof that it holds its credential."""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass

from taskgate.domain import Credential
from taskgate.errors import AuthenticationFault, ClientFault
from taskgate.protocols.postgres import backend, startup
from taskgate.protocols.postgres.codec import INT32, Reader
from taskgate.protocols.postgres.peer import Peer
from taskgate.protocols.postgres.scram import ServerExchange, Verifier
from taskgate.protocols.postgres.service import Service
from taskgate.protocols.postgres.startup import CancelRequest, EncryptionRequest, Startup, Wishes

_SASL, _SASL_CONTINUE, _SASL_FINAL = 10, 11, 12


@dataclass(frozen=True, slots=True)
class Admitted:
    """A client that has proven its credential."""

    credential: Credential
    wishes: Wishes


class Greeting:
    """One client's. `address` is for records only. `encrypted`: it came by direct TLS."""

    def __init__(self, service: Service, peer: Peer, address: str, *, encrypted: bool) -> None:
        self._service = service
        self._peer = peer
        self._address = address
        self._encrypted = encrypted

    async def admit(self) -> Admitted | CancelRequest:
        """Raises ClientFault, AuthenticationFault, ConnectionResetError, whatever the gate raises."""
        first = await self._first_packet()
        if isinstance(first, CancelRequest):
            return first
        tls = self._service.tls
        if tls is not None and tls.required and not self._encrypted:
            fault = ClientFault("taskgate: this gateway wants TLS", hint="Connect with sslmode=require or stricter.")
            fault.sqlstate = "28000"
            raise fault
        if first.minor > startup.NEWEST_MINOR or first.unknown:
            minor = min(first.minor, startup.NEWEST_MINOR)
            self._peer.write(startup.negotiate_version(minor, first.unknown))
        wishes = startup.wishes(first)
        credential = await self._authenticate(wishes.user)
        return Admitted(credential, wishes)

    async def _first_packet(self) -> Startup | CancelRequest:
        """Each encryption may be asked for once, and only in the clear."""
        asked: set[bool] = set()
        while True:
            length = startup.packet_length(await self._peer.peek(4), self._service.limits.startup_packet)
            packet = startup.decode(await self._peer.take(length))
            if not isinstance(packet, EncryptionRequest):
                return packet
            if self._encrypted or packet.gss in asked:
                raise ClientFault("encryption was asked for twice")
            asked.add(packet.gss)
            if self._peer.gathered:
                # Whatever stands behind the request came in the clear and would be read as if it were encrypted.
                raise ClientFault("received unencrypted data after an encryption request")
            if packet.gss or self._service.tls is None:
                self._peer.write(b"N")
            else:
                await self._encrypt(self._service.tls.context)

    async def _encrypt(self, context: ssl.SSLContext) -> None:
        transport = self._peer.transport
        assert transport is not None
        transport.pause_reading()
        transport.write(b"S")
        loop = asyncio.get_running_loop()
        try:
            encrypted = await loop.start_tls(transport, self._peer, context, server_side=True)
        except (ssl.SSLError, OSError) as error:
            raise ConnectionResetError from error
        if encrypted is None:
            raise ConnectionResetError
        self._peer.adopt(encrypted)
        self._encrypted = True

    async def _authenticate(self, user: str) -> Credential:
        service = self._service
        credential = await service.gate.credential(user)
        verifier = Verifier.parse(credential.scram) if credential is not None else None
        known = verifier is not None
        binding = service.tls.binding if service.tls is not None and self._encrypted else None
        exchange = ServerExchange(verifier or service.mocks.verifier(user), known=known, binding=binding)
        names = b"".join(name.encode() + b"\0" for name in exchange.mechanisms) + b"\0"
        try:
            self._peer.write(backend.authentication(_SASL, names))
            self._peer.write(backend.authentication(_SASL_CONTINUE, exchange.first(*await self._initial_response())))
            final = exchange.final(await self._response())
        except AuthenticationFault as fault:
            reason = str(fault) if known else f"no such credential ({fault})"
            service.gate.authentication_failed(
                protocol="postgres", client_address=self._address, user=user, reason=reason
            )
            raise AuthenticationFault(
                f'password authentication failed for user "{user}"',
                hint="The credential may be unknown, expired or revoked: ask for a new one.",
            ) from None
        assert credential is not None
        # A server does not flush here either: the client has nothing to say until it is let in, or is not.
        self._peer.hold(backend.authentication(_SASL_FINAL, final))
        return credential

    async def _initial_response(self) -> tuple[str, bytes]:
        data = await self._password_message()
        reader = Reader(data, 5, len(data), ClientFault, "SASLInitialResponse")
        mechanism = reader.cstring().decode("ascii", "replace")
        size = INT32.unpack(reader.take(4))[0]
        response = reader.take(size)
        reader.finish()
        return mechanism, response

    async def _response(self) -> bytes:
        return (await self._password_message())[5:]

    async def _password_message(self) -> bytes:
        data = await self._peer.message(self._service.limits.password_message)
        if data[0] != 0x70:
            raise ClientFault(f"expected a password message, got type {data[0]}")
        return data
