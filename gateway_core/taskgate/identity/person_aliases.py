"""Names an administrator has linked to one person, beyond what keys and attributes tell."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import delete, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from taskgate.errors import ClientFault
from taskgate.identity.people import canonical, canonical_names
from taskgate.store.clock import database_time
from taskgate.store.database import Database
from taskgate.store.tables import person_aliases


async def with_aliases(connection: AsyncConnection, names: Iterable[str]) -> frozenset[str]:
    """The canonical names given, and all that are linked with any of them."""
    known = canonical_names(names)
    if not known:
        return known
    persons = select(person_aliases.c.person).where(
        or_(person_aliases.c.alias.in_(known), person_aliases.c.person.in_(known))
    )
    rows = await connection.execute(select(person_aliases).where(person_aliases.c.person.in_(persons)))
    return known | {name for row in rows for name in (row.alias, row.person)}


class PersonAliases:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def link(self, alias: str, person: str, by: str) -> None:
        """From now on `alias` is `person`; an earlier link of the alias is replaced."""
        name, owner = canonical(alias), canonical(person)
        async with self._database.transaction() as connection:
            # One step from any name to its person, however links are chained: a look-up never follows a chain.
            above = select(person_aliases.c.person).where(person_aliases.c.alias == owner)
            owner = (await connection.execute(above)).scalar_one_or_none() or owner
            if not name or not owner or name == owner:
                raise ClientFault("A link needs two different names that are not linked the other way round.")
            await connection.execute(delete(person_aliases).where(person_aliases.c.alias == name))
            below = update(person_aliases).where(person_aliases.c.person == name)
            await connection.execute(below.values(person=owner))
            await connection.execute(
                insert(person_aliases).values(alias=name, person=owner, linked_at=database_time(), linked_by=by)
            )

    async def unlink(self, alias: str) -> bool:
        """False where there was no link."""
        gone = delete(person_aliases).where(person_aliases.c.alias == canonical(alias))
        async with self._database.statement(writes=True) as connection:
            return bool((await connection.execute(gone)).rowcount)

    async def names(self, name: str) -> frozenset[str]:
        """All canonical names of the person called `name`."""
        async with self._database.statement() as connection:
            return await with_aliases(connection, [name])
