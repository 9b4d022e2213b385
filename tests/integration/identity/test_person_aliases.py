from __future__ import annotations

import pytest

from taskgate.errors import ClientFault
from taskgate.identity.person_aliases import PersonAliases
from taskgate.store.database import Database


async def test_links_are_found_from_every_name(database: Database) -> None:
    aliases = PersonAliases(database)
    await aliases.link("Airflow-1", "alice", "admin")
    await aliases.link("a.smith", "ALICE", "admin")
    await aliases.link("bobby", "bob", "admin")
    for name in ("alice", "airflow-1", "A.Smith"):
        assert await aliases.names(name) == {"alice", "airflow-1", "a.smith"}
    assert await aliases.names("bob") == {"bob", "bobby"}
    assert await aliases.names("carol") == {"carol"}
    assert await aliases.names("") == frozenset()


async def test_link_is_replaced_and_removed(database: Database) -> None:
    aliases = PersonAliases(database)
    await aliases.link("x", "alice", "admin")
    await aliases.link("X ", "bob", "admin")
    assert await aliases.names("alice") == {"alice"}
    assert await aliases.names("x") == {"x", "bob"}
    assert await aliases.unlink("X")
    assert not await aliases.unlink("x")
    assert await aliases.names("bob") == {"bob"}


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 0, 2), (1, 2, 0)])
async def test_chained_links_are_one_person(database: Database, order: tuple[int, ...]) -> None:
    aliases = PersonAliases(database)
    chain = [("airflow-1", "alice"), ("alice", "a.smith"), ("a.smith", "employee-7")]
    for index in order:
        await aliases.link(*chain[index], "admin")
    everybody = {"airflow-1", "alice", "a.smith", "employee-7"}
    for name in everybody:
        assert await aliases.names(name) == everybody
    with pytest.raises(ClientFault):
        await aliases.link("employee-7", "airflow-1", "admin")


@pytest.mark.parametrize(("alias", "person"), [("", "alice"), ("alice", ""), ("alice", "Alice")])
async def test_links_of_nothing_are_refused(database: Database, alias: str, person: str) -> None:
    with pytest.raises(ClientFault):
        await PersonAliases(database).link(alias, person, "admin")
