"""The relay by itself, as a conversation: what goes to the target, what to the client, what it waits for."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from taskgate.domain import Facts, Pair
from taskgate.enforcement.contracts import Permit, PolicyRefusal
from taskgate.errors import ClientFault, JournalFault, TargetFault
from taskgate.masking.plan import UNMASKED
from taskgate.protocols.postgres import backend, frontend
from taskgate.protocols.postgres.backend import data_row, message, ready, report
from taskgate.protocols.postgres.frontend import SYNC, Bind, Execute, Parse, Query
from taskgate.protocols.postgres.needs import Need
from taskgate.protocols.postgres.server_settings import PinnedSettingMoved
from taskgate.sql.postgres import analyze
from tests.unit.protocols.postgres.conversation import BEGUN, COMPLETE, FAILED, PERMIT, ROWS, Conversation, begin


@pytest.fixture(params=["18.0", "15.3"])
async def talk(request: pytest.FixtureRequest) -> Conversation:
    return await begin(request.param)


async def test_a_query_is_judged_then_forwarded(talk: Conversation) -> None:
    talk.client(Query(b"SELECT 1").encode())
    assert talk.to_server == ""
    talk.judged()
    assert talk.to_server == "Q"
    assert talk.session.begun[0].committed
    talk.server(ROWS, ready())
    assert talk.to_client == "TDCZ"
    assert talk.session.begun[0].outcome is not None


async def test_later_messages_wait_for_an_earlier_judgement(talk: Conversation) -> None:
    talk.client(Query(b"SELECT 1").encode(), Query(b"SELECT 2").encode())
    talk.client(Query(b"SELECT 3").encode())
    for _ in range(3):
        talk.judged()
        assert talk.to_server == "Q"
    assert talk.relay.client_ahead == 0


async def test_a_refused_query_becomes_one_the_target_rejects(talk: Conversation) -> None:
    talk.client(Query(b"SELECT 1").encode())
    talk.relay.judged(PolicyRefusal("no"))
    sent = b"".join(talk.relay.to_server)
    assert sent == frontend.Query(b"taskgate_refused").encode()
    assert talk.to_server == "Q"
    talk.server(report("ERROR", "42601", "syntax error").encode(b"E"))
    assert b"42501" in talk.relay.to_client[0]
    assert b"syntax" not in talk.relay.to_client[0]
    talk.server(ready(b"E"))
    assert talk.to_client == "EZ"


async def test_after_a_refused_parse_everything_up_to_sync_is_dropped(talk: Conversation) -> None:
    talk.client(Parse(b"s", b"SELECT 1").encode(), Bind(b"", b"s").encode(), Execute(b"").encode(), SYNC)
    talk.relay.judged(PolicyRefusal("no"))
    assert talk.to_server == "BS"
    talk.server(FAILED, ready())
    assert talk.to_client == "EZ"
    assert not talk.session.begun


async def test_what_has_not_been_executed_waits_with_it(talk: Conversation) -> None:
    """A Parse and a Bind take locks on the target: they do not go ahead of an Execute that is being judged."""
    asks = Permit(("rule",), (UNMASKED,), needs_judgement=True)
    talk.session.cached = lambda action: asks  # type: ignore[method-assign]
    talk.client(Parse(b"", b"SELECT 1").encode(), Bind(b"", b"").encode(), Execute(b"").encode(), SYNC)
    assert talk.relay.need is Need.JUDGEMENT
    assert talk.to_server == ""
    talk.judged()
    assert talk.to_server == "PBES"


async def test_a_name_that_an_unanswered_batch_may_have_changed_waits(talk: Conversation) -> None:
    talk.session.cached = lambda action: PERMIT  # type: ignore[method-assign]
    talk.client(Parse(b"s", b"SELECT 1").encode(), SYNC)
    talk.server(message(b"1"), ready())
    talk.client(Parse(b"s", b"SELECT 2").encode(), SYNC, Bind(b"", b"s").encode(), Execute(b"").encode(), SYNC)
    assert talk.to_server == "PSPS"
    talk.server(FAILED)
    assert talk.to_server == "BES"
    assert talk.session.begun[-1].action.text == "SELECT 1"


async def test_an_error_skips_to_the_next_sync_only(talk: Conversation) -> None:
    talk.session.cached = lambda action: PERMIT  # type: ignore[method-assign]
    batch = Parse(b"", b"SELECT 1").encode() + Bind(b"", b"").encode() + Execute(b"").encode() + SYNC
    talk.client(batch, batch)
    assert talk.to_server == "PBESPBES"
    talk.server(message(b"1"), FAILED, ready(), message(b"1"), message(b"2"), data_row((b"1",)), COMPLETE, ready())
    assert talk.to_client == "1EZ12DCZ"
    assert talk.session.begun[0].outcome.error is not None  # type: ignore[union-attr]
    assert talk.session.begun[1].outcome.error is None  # type: ignore[union-attr]


async def test_an_error_drops_what_the_client_sends_until_sync(talk: Conversation) -> None:
    talk.session.cached = lambda action: PERMIT  # type: ignore[method-assign]
    talk.client(Parse(b"", b"SELECT 1").encode())
    talk.server(FAILED)
    talk.client(Bind(b"", b"").encode(), Execute(b"").encode(), Query(b"SELECT 1").encode())
    assert talk.to_server == "P"
    talk.client(SYNC, Query(b"SELECT 1").encode())
    assert talk.to_server == "SQ"


async def test_nothing_goes_on_while_settings_may_have_moved(talk: Conversation) -> None:
    talk.session.cached = lambda action: PERMIT  # type: ignore[method-assign]
    talk.client(Query(b"SET search_path = other").encode(), Query(b"SELECT * FROM t").encode())
    assert talk.to_server == "Q"
    talk.server(message(b"C", b"SET\0"), backend.parameter_status("search_path", "other"), ready())
    if talk.to_server == "PBECCS":  # a server that does not report search_path
        cells = (b"on", b"UTF8", b"other", b"postgres")
        talk.server(message(b"1"), message(b"2"), data_row(cells), COMPLETE, message(b"3") * 2, ready())
        assert talk.to_server == "Q"
    assert talk.to_client == "CSZ"
    assert talk.session.begun[-1].action.environment.search_path == "other"


async def test_inside_a_batch_the_gateway_asks(talk: Conversation) -> None:
    talk.session.cached = lambda action: PERMIT  # type: ignore[method-assign]
    setting = Parse(b"", b"SET search_path = other").encode() + Bind(b"", b"").encode() + Execute(b"").encode()
    talk.client(setting, Parse(b"", b"SELECT * FROM t").encode(), SYNC)
    assert talk.to_server == "PBEPBECCH"
    cells = (b"on", b"UTF8", b"other", b"postgres")
    talk.server(message(b"1"), message(b"2"), message(b"C", b"SET\0"))
    talk.server(message(b"1"), message(b"2"), data_row(cells), COMPLETE, message(b"3") * 2)
    assert talk.to_client == "12C"
    assert talk.to_server == "PS"


@pytest.mark.parametrize("setting", ["standard_conforming_strings", "client_encoding"])
async def test_a_pinned_setting_that_moves_ends_it(talk: Conversation, setting: str) -> None:
    with pytest.raises(PinnedSettingMoved):
        talk.server(backend.parameter_status(setting, "off"))


async def test_a_journal_that_fails_refuses_the_batch(talk: Conversation) -> None:
    talk.session.cached = lambda action: PERMIT  # type: ignore[method-assign]
    talk.session.gate.journal_fault = JournalFault("disk full")
    batch = Parse(b"s", b"SELECT 1").encode() + Bind(b"", b"s").encode() + Execute(b"").encode() + SYNC
    talk.client(batch)
    assert talk.to_server == "BS"
    talk.server(FAILED, ready())
    assert b"disk full" in b"".join(talk.relay.to_client)
    assert talk.to_client == "EZ"
    assert b"s" not in talk.relay.state.statements


async def test_a_durable_action_waits_for_the_disk(talk: Conversation) -> None:
    durable = Permit(("rule",), (UNMASKED,), durable=True)
    talk.session.cached = lambda action: durable  # type: ignore[method-assign]
    talk.client(Query(b"SELECT 1").encode())
    assert talk.relay.syncing
    assert talk.to_server == ""
    talk.client(Query(b"SELECT 2").encode())
    talk.relay.synced()
    assert talk.to_server == "Q"
    assert talk.relay.syncing
    talk.relay.synced()
    assert talk.to_server == "Q"


@pytest.mark.parametrize("data", [b"Q\0\0\0\x03", b"?\0\0\0\x04", b"Q\0\0\0\x05x", b"S\0\0\0\x05x"])
async def test_a_client_that_breaks_the_protocol(talk: Conversation, data: bytes) -> None:
    with pytest.raises(ClientFault):
        talk.client(data)


@pytest.mark.parametrize("data", [ready(), COMPLETE, data_row((b"1",)), message(b"1"), message(b"W"), FAILED])
async def test_a_target_that_answers_what_nobody_asked(talk: Conversation, data: bytes) -> None:
    with pytest.raises(TargetFault):
        talk.server(data)
    assert talk.to_client == ""


CONVERSATION = b"".join(
    (
        Query(b"BEGIN; SELECT 1").encode(),
        Parse(b"s", b"SELECT $1::int", (23,)).encode(),
        frontend.describe(b"S", b"s"),
        Bind(b"p", b"s", (), (b"1",)).encode(),
        Execute(b"p").encode(),
        frontend.close(b"P", b"p"),
        SYNC,
    )
)
ANSWERS = b"".join(
    (
        BEGUN,
        ROWS,
        ready(b"T"),
        message(b"1"),
        message(b"t", b"\0\1\0\0\0\x17"),
        ROWS[: -len(COMPLETE) - 12],
        message(b"2"),
        data_row((b"1",)),
        COMPLETE,
        message(b"3"),
        ready(b"T"),
    )
)


def cuts(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    for cut in range(1, len(data)):
        yield data[:cut], data[cut:]


async def test_cut_at_every_byte(talk: Conversation) -> None:
    talk.session.cached = lambda action: Permit(("rule",), (UNMASKED,) * len(action.facts))  # type: ignore[method-assign]
    for (first, second), (third, fourth) in zip(cuts(CONVERSATION), cuts(ANSWERS), strict=False):
        talk.client(first)
        talk.client(second)
        assert talk.to_server == "QPDBECS"
        talk.server(third)
        talk.server(fourth)
        assert talk.to_client == "CTDCZ1tT2DC3Z"
        talk.relay.state.statements.clear()


def test_facts_of_the_stand_in_are_real() -> None:
    from taskgate.sql.catalog import Catalog

    facts = analyze("SET search_path = x", Catalog(version=1), ())
    assert isinstance(facts[0], Facts)
    assert Pair("sql.set", "search_path") in facts[0].pairs
