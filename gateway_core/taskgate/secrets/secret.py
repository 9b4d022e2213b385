"""A value that must not be seen: it shows itself nowhere by accident, only where somebody asks with `reveal`."""

from __future__ import annotations

import hmac
from typing import NoReturn


class Secret:
    """Text that repr, str, format, pickling and copying do not give away. Equality is in constant time."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        return self._value

    def __repr__(self) -> str:
        return "Secret(…)"

    __str__ = __repr__

    def __format__(self, specification: str) -> str:
        return repr(self)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and hmac.compare_digest(self._value.encode(), other._value.encode())

    __hash__ = None  # type: ignore[assignment]

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret is not to be stored or sent")
