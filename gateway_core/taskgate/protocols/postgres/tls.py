"""TLS on both sides: the context a listener serves with, the one a target is reached with, and channel binding."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from taskgate.domain import Target, TlsMode
from taskgate.errors import TargetFault

ALPN = "postgresql"


@dataclass(frozen=True, slots=True)
class ServerTls:
    """`required`: clients that do not ask for TLS are turned away. `binding`: see `end_point`."""

    context: ssl.SSLContext
    required: bool = True
    binding: bytes | None = None

    @classmethod
    def load(cls, certificate: Path, key: Path, *, required: bool = True) -> ServerTls:
        """From PEM files; the certificate's file may go on with its chain."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(certificate, key)
        context.set_alpn_protocols([ALPN])
        leaf = x509.load_pem_x509_certificates(certificate.read_bytes())[0]
        return cls(context, required, _end_point(leaf))


def end_point(certificate: bytes) -> bytes | None:
    """tls-server-end-point channel binding data (RFC 5929) of a DER certificate; None where none is defined."""
    return _end_point(x509.load_der_x509_certificate(certificate))


def _end_point(certificate: x509.Certificate) -> bytes | None:
    algorithm = certificate.signature_hash_algorithm
    if algorithm is None:
        return None
    if isinstance(algorithm, hashes.MD5 | hashes.SHA1):
        algorithm = hashes.SHA256()
    return certificate.fingerprint(algorithm)


def client_context(target: Target) -> ssl.SSLContext | None:
    """How the target is reached; None without TLS, which settings accept for loopback addresses only."""
    if target.tls is TlsMode.DISABLE:
        return None
    try:
        context = ssl.create_default_context(cafile=target.ca_file)
    except OSError as error:
        raise TargetFault(f"the CA file of target {target.name} cannot be read: {error.strerror}") from None
    context.check_hostname = target.tls is TlsMode.VERIFY_FULL
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols([ALPN])
    return context
