"""When a session looks at the catalogue again."""

from __future__ import annotations

import math

from taskgate.protocols.postgres.backend import message, ready
from taskgate.protocols.postgres.frontend import Query
from taskgate.protocols.postgres.needs import Need
from tests.servers.gate import ScriptedGate, loopback_target
from tests.unit.protocols.postgres.conversation import begin


async def test_a_name_that_nothing_has_is_looked_for_once_however_slow_the_look_is() -> None:
    gate = ScriptedGate(loopback_target(1), "secret")
    conversation = await begin("18.0", gate)
    gate.catalog_age = 100.0  # whatever is looked at: the look takes longer than it counts
    for _ in range(2):
        conversation.client(Query(b"select * from nope").encode())
        assert conversation.relay.need is Need.CATALOG
        conversation.relay.catalog_read()
        assert conversation.relay.need is Need.JUDGEMENT
        conversation.relay.never_mind()
        conversation.relay._backlog.clear()


async def test_a_catalogue_that_has_just_been_looked_at_is_taken_as_it_is() -> None:
    conversation = await begin("18.0", ScriptedGate(loopback_target(1), "secret"))
    conversation.client(Query(b"select * from nope").encode())
    assert conversation.relay.need is Need.JUDGEMENT


async def test_a_committed_change_of_the_catalogue_is_told_at_its_commit() -> None:
    """The one who made a table may be gone before anybody asks: the next session that misses a name has to look."""
    gate = ScriptedGate(loopback_target(1), "secret")
    conversation = await begin("18.0", gate)
    conversation.client(Query(b"begin").encode())
    conversation.judged()
    conversation.server(message(b"C", b"BEGIN\0"), ready(b"T"))
    conversation.client(Query(b"create table public.made (a int)").encode())
    conversation.judged()
    conversation.server(message(b"C", b"CREATE TABLE\0"), ready(b"T"))
    assert gate.catalog_age == 0.0  # nobody else sees it yet
    conversation.client(Query(b"commit").encode())
    conversation.judged()
    conversation.server(message(b"C", b"COMMIT\0"), ready(b"I"))
    assert gate.catalog_age == math.inf


async def test_a_statement_that_changes_no_catalogue_has_nobody_look() -> None:
    gate = ScriptedGate(loopback_target(1), "secret")
    conversation = await begin("18.0", gate)
    conversation.client(Query(b"select 1").encode())
    conversation.judged()
    conversation.server(message(b"C", b"SELECT 1\0"), ready(b"I"))
    assert gate.catalog_age == 0.0
