"""What settings are made of: durations, sizes, ports, references to secrets."""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_SIZE = re.compile(r"(\d+)\s*(KiB|MiB|GiB)?")
_BYTES = {None: 1, "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3}


def seconds(value: object) -> object:
    if isinstance(value, str):
        if not (match := _DURATION.fullmatch(value.strip())):
            raise ValueError("a duration looks like 250ms, 30s, 10m, 4h or 1d")
        return float(match[1]) * _SECONDS[match[2]]
    return value


def _bytes(value: object) -> object:
    if isinstance(value, str):
        if not (match := _SIZE.fullmatch(value.strip())):
            raise ValueError("a size looks like 65536, 64 KiB or 64 MiB")
        return int(match[1]) * _BYTES[match[2]]
    return value


Duration = Annotated[float, BeforeValidator(seconds), Field(gt=0)]
Size = Annotated[int, BeforeValidator(_bytes), Field(gt=0)]
Port = Annotated[int, Field(ge=0, le=65535)]


def is_loopback(host: str) -> bool:
    """True for `localhost` and loopback addresses; a name that would have to be looked up is not."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


def _reference(value: str) -> str:
    if not re.match(r"^[a-z][a-z0-9_]*:.", value):
        raise ValueError("is a reference such as env:NAME or file:/path, never the secret itself")
    return value


SecretReference = Annotated[str, AfterValidator(_reference)]


def anchored_reference(reference: str, folder: Path) -> str:
    """A relative `file:` reference starts at `folder`."""
    return f"file:{folder / reference[5:]}" if reference.startswith("file:") else reference
