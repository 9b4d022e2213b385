"""Who stands behind a request: the people who must not be the ones to decide it."""

from __future__ import annotations

import re
from collections.abc import Mapping

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from taskgate.domain import Principal, PrincipalKind
from taskgate.identity.people import canonical, canonical_names, people_behind
from taskgate.store.tables import api_keys, credentials, sessions

People = Mapping[str, Mapping[str, str]]
"""By source: which of its users is which person here, as configured."""
_KEY_ID = re.compile(r"\btgk_[0-9a-f]{32}\b")


async def parties_of(
    connection: AsyncConnection, principal: Principal, session_id: str, people: People
) -> frozenset[str]:
    """The people behind the principal, under their names here too, and the person (if it was one) who issued the
    session's credential: whoever may issue credentials for others could otherwise ask in their name and decide in their
    own. Canonical names."""
    issued_by = (
        select(credentials.c.issued_by)
        .join(sessions, sessions.c.credential_id == credentials.c.id)
        .where(sessions.c.id == session_id)
    )
    text = (await connection.execute(issued_by)).scalar_one_or_none() or ""
    names: list[str] = []
    if ids := _KEY_ID.findall(text):
        issuers = select(api_keys).where(api_keys.c.id.in_(ids), api_keys.c.kind == PrincipalKind.USER.value)
        for issuer in await connection.execute(issuers):
            names += (issuer.name, *issuer.aliases)
    behind = people_behind(principal)
    known = people.get(principal.source, {})
    names += [person for user, person in known.items() if canonical(user) in behind]
    return behind | canonical_names(names)
