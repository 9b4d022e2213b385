"""When a session looks at the catalogue again."""

from __future__ import annotations

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
