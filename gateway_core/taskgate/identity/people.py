"""Whether two names are one person's: what four eyes rest on.

The same human appears as `alice` in Airflow, `Alice@example.com` at the identity provider and `alice` on an API key.
When it comes to refusing, names are compared loosely and whatever their source; when it comes to granting, exactly.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

from taskgate.domain import AttributeValue, Principal, PrincipalKind

_BEHIND = ("triggering_user", "bundle_owners", "aliases")


def canonical(name: str) -> str:
    """Case, width, surrounding space and a `user:` prefix make no other person."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold()).strip()
    return folded.removeprefix("user:").strip()


def canonical_names(names: Iterable[str]) -> frozenset[str]:
    return frozenset(filter(None, (canonical(name) for name in names)))


def people_behind(principal: Principal) -> frozenset[str]:
    """The canonical names of all who stand behind what a principal does: itself where it is no task, who triggered the
    run, the people its bundle is mapped to, and their other names as far as attributes tell."""
    names = [] if principal.kind is PrincipalKind.TASK else [principal.name]
    for attribute in _BEHIND:
        names += _texts(principal.attributes.get(attribute, ()))
    return canonical_names(names)


def may_be_one_person(some: Iterable[str], others: Iterable[str]) -> bool:
    """Whether any name of the one may be a name of the other. `alice` and `alice@example.com` may be one person;
    `alice@example.com` and `alice@example.org` are two. Both given as canonical names."""
    others = tuple(others)
    return any(_may_be_same(one, other) for one in some for other in others)


def _may_be_same(one: str, other: str) -> bool:
    if one == other:
        return True
    if ("@" in one) == ("@" in other):
        return False
    return one.partition("@")[0] == other.partition("@")[0]


def _texts(value: AttributeValue) -> tuple[str, ...]:
    if isinstance(value, tuple):
        return tuple(str(item) for item in value)
    return (value,) if isinstance(value, str) else ()
