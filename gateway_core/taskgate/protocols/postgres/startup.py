"""What a client sends before its first typed message, and what of it the gateway carries.

Source: https://www.postgresql.org/docs/18/protocol-flow.html#PROTOCOL-FLOW-START-UP. Startup parameters are an
allow-list: whatever else a client asks for could change how the target parses, whose rights apply or which
database it is, and is refused with the reason.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from taskgate.errors import ClientFault
from taskgate.protocols.postgres.codec import INT32, UINT32, message

SSL_REQUEST = 80877103
GSSENC_REQUEST = 80877104
CANCEL_REQUEST = 80877102
PROTOCOL_3_0 = 3 << 16
NEWEST_MINOR = 2
LONG_KEYS = 2  # from this minor version on, a cancel key's secret may be longer than four bytes

# Session settings a client may choose at startup through `options=-c name=value` or as a parameter of its own. Each
# only changes how values are printed or how long things may take.
_SETTINGS = frozenset(
    {
        "datestyle", "timezone", "intervalstyle", "extra_float_digits", "bytea_output", "geqo", "jit", "search_path",
        "statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout", "idle_session_timeout",
        "transaction_timeout", "client_min_messages", "lc_monetary", "lc_numeric", "lc_time",
    }
)  # fmt: skip
_UTF8 = frozenset({"utf8", "utf-8", "unicode"})


@dataclass(frozen=True, slots=True)
class CancelRequest:
    process: int
    secret: bytes


@dataclass(frozen=True, slots=True)
class EncryptionRequest:
    """SSLRequest or GSSENCRequest: answered with one byte."""

    gss: bool


@dataclass(frozen=True, slots=True)
class Startup:
    """A StartupMessage. `minor` is what the client asked for, `unknown` its protocol options that nobody here knows."""

    minor: int
    parameters: Mapping[str, str]
    unknown: tuple[str, ...] = ()


def packet_length(head: bytes, cap: int) -> int:
    """Length of the startup packet that begins with these (at least 4) bytes."""
    length: int = UINT32.unpack_from(head)[0]
    if not 8 <= length <= cap:
        raise ClientFault("invalid length of startup packet")
    return length


def decode(packet: bytes) -> CancelRequest | EncryptionRequest | Startup:
    """One whole startup packet, its length included. Raises ClientFault."""
    version = UINT32.unpack_from(packet, 4)[0]
    if version in (SSL_REQUEST, GSSENC_REQUEST):
        if len(packet) != 8:
            raise ClientFault("invalid length of startup packet")
        return EncryptionRequest(gss=version == GSSENC_REQUEST)
    if version == CANCEL_REQUEST:
        secret = packet[12:]
        if not 4 <= len(secret) <= 256:
            raise ClientFault("invalid length of cancel request")
        return CancelRequest(INT32.unpack_from(packet, 8)[0], secret)
    major, minor = version >> 16, version & 0xFFFF
    if major != 3:
        raise ClientFault(
            f"unsupported frontend protocol {major}.{minor}: the gateway speaks 3.{NEWEST_MINOR}", hint=None
        )
    return Startup(minor, *_parameters(packet))


def _parameters(packet: bytes) -> tuple[dict[str, str], tuple[str, ...]]:
    if packet[-1] != 0:
        raise ClientFault("invalid startup packet layout: expected terminator as last byte")
    items = packet[8:-1].split(b"\0")
    if items.pop() != b"" or len(items) % 2:
        raise ClientFault("invalid startup packet layout")
    parameters: dict[str, str] = {}
    unknown: list[str] = []
    for raw_name, raw_value in zip(items[::2], items[1::2], strict=True):
        try:
            name, value = raw_name.decode("utf-8"), raw_value.decode("utf-8")
        except UnicodeDecodeError:
            raise ClientFault("invalid startup packet: not UTF-8", hint="Use client_encoding UTF8.") from None
        if not name:
            raise ClientFault("invalid startup packet layout: a parameter without a name")
        if name in parameters or name in unknown:
            raise ClientFault(f'invalid startup packet: parameter "{name}" stands twice')
        if name.startswith("_pq_."):
            unknown.append(name)
        else:
            parameters[name] = value
    return parameters, tuple(unknown)


def negotiate_version(minor: int, unknown: tuple[str, ...]) -> bytes:
    """NegotiateProtocolVersion: this minor version is spoken, and these options mean nothing to us."""
    names = b"".join(name.encode() + b"\0" for name in unknown)
    return message(b"v", INT32.pack(PROTOCOL_3_0 | minor) + INT32.pack(len(unknown)) + names)


@dataclass(frozen=True, slots=True)
class Wishes:
    """What a client asked for at startup, once everything that is not carried has been refused."""

    user: str
    database: str
    application_name: str
    settings: Mapping[str, str]  # passed on to the target
    options: Mapping[str, str]  # `taskgate.*`, without the prefix
    minor: int = 0  # of the protocol that is spoken


def wishes(startup: Startup) -> Wishes:
    """Raises ClientFault with the parameter's name and the reason."""
    user, database, application = startup.parameters.get("user", ""), "", ""
    settings: dict[str, str] = {}
    options: dict[str, str] = {}
    if not user:
        raise ClientFault("no user name in the startup packet: the user name is the credential's id", hint=None)
    for name, value in startup.parameters.items():
        if name == "user":
            continue
        if name == "database":
            database = value
        elif name == "options":
            for option, setting in _options(value):
                _add(option, setting, settings, options)
        elif name == "application_name":
            application = value
        else:
            _add(name, value, settings, options)
    return Wishes(user, database or user, application, settings, options, min(startup.minor, NEWEST_MINOR))


def _add(name: str, value: str, settings: dict[str, str], options: dict[str, str]) -> None:
    lowered = name.lower()
    if lowered.startswith("taskgate."):
        if lowered[9:] in options:
            raise ClientFault(f'option "{name}" stands twice')
        options[lowered[9:]] = value
    elif lowered == "client_encoding":
        if value.strip("'\"").lower() not in _UTF8:
            raise _refused(name, f"the gateway reads what is sent as UTF8, not {value!r}", "22023")
    elif lowered == "standard_conforming_strings":
        if value.lower() not in ("on", "true", "yes", "1"):
            raise _refused(name, "it changes how string literals are read")
    elif lowered == "replication":
        if value.lower() not in ("false", "off", "no", "0"):
            raise _refused(name, "replication connections are not carried")
    elif lowered in _SETTINGS:
        if lowered in settings:
            raise ClientFault(f'startup parameter "{name}" stands twice')
        settings[lowered] = value
    else:
        raise _refused(name, "only settings that cannot change identity or parsing are carried at startup")


def _refused(name: str, why: str, sqlstate: str = "42501") -> ClientFault:
    fault = ClientFault(f'startup parameter "{name}" is refused: {why}', hint="Remove it from the connection string.")
    fault.sqlstate = sqlstate
    return fault


_OPTION = re.compile(r"([A-Za-z_][\w.-]*)=(.*)", re.DOTALL)


def _options(text: str) -> list[tuple[str, str]]:
    """`options` split as PostgreSQL splits it: white space separates, a backslash keeps the next character."""
    words: list[str] = []
    word: list[str] | None = None
    characters = iter(text)
    for character in characters:
        if character.isspace():
            if word is not None:
                words.append("".join(word))
            word = None
            continue
        if character == "\\":
            character = next(characters, "")
        word = [*(word or []), character]
    if word is not None:
        words.append("".join(word))

    found: list[tuple[str, str]] = []
    rest = iter(words)
    for item in rest:
        if item == "-c":
            setting = next(rest, "")
        elif item.startswith(("--", "-c")):
            setting = item[2:]
        else:
            raise _refused("options", f"only `-c name=value` is carried, not {item!r}")
        matched = _OPTION.fullmatch(setting)
        if not matched:
            raise _refused("options", f"not a setting: {setting!r}")
        found.append((matched[1].replace("-", "_"), matched[2]))
    return found


def startup_message(parameters: Mapping[str, str], minor: int = 0) -> bytes:
    body = b"".join(name.encode() + b"\0" + value.encode() + b"\0" for name, value in parameters.items()) + b"\0"
    return UINT32.pack(len(body) + 8) + UINT32.pack(PROTOCOL_3_0 | minor) + body


def ssl_request() -> bytes:
    return UINT32.pack(8) + UINT32.pack(SSL_REQUEST)


def cancel_request(process: int, secret: bytes) -> bytes:
    return UINT32.pack(12 + len(secret)) + UINT32.pack(CANCEL_REQUEST) + INT32.pack(process) + secret
