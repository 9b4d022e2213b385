"""Exchanges that are known go the short way, and nobody can tell: not the client, not the target, not the record."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from taskgate.domain import MaskKind, MaskRule, RecordingLevel, TransactionState
from taskgate.errors import JournalFault
from taskgate.protocols.postgres import refusals
from taskgate.protocols.postgres.backend import data_row, message, parameter_status, ready
from taskgate.protocols.postgres.frontend import SYNC, Execute, Parse, Query, close
from taskgate.protocols.postgres.needs import Need
from tests.servers.gate import Begun, ScriptedMasks
from tests.unit.protocols.postgres.model_target import EMAIL, SSN
from tests.unit.protocols.postgres.talk import MASKS, NOTICE, PLAIN, TEXT, Talk, batch, prepared, talk


async def test_what_is_known_is_recorded_with_its_own_parameters() -> None:
    session = await prepared()
    session.say(batch(b"7"))
    assert session.departures == 2
    assert session.target.heard[-1] == batch(b"7")
    last = session.begun[-1]
    assert last.committed
    assert [(parameter.type_oid, parameter.format, parameter.value) for parameter in last.parameters] == [(23, 0, b"7")]
    assert last.outcome is not None
    assert (last.outcome.tag, last.outcome.rows, dict(last.outcome.masked)) == ("SELECT 1", 1, {"masks[0]": 1})


async def test_masks_and_detectors_apply() -> None:
    session = await prepared()
    session.say(batch(b"2"))
    assert session.departures == 2
    assert session.client.count(b"[redacted]") == 4
    assert SSN not in session.client
    assert EMAIL not in session.client
    outcome = session.begun[-1].outcome
    assert outcome is not None
    assert dict(outcome.masked) == {"masks[0]": 2, "email": 2}


async def test_without_a_describe_of_the_clients_the_gateways_own_is_put_in_and_taken_out() -> None:
    session = await talk(masks=MASKS)
    session.say(Parse(b"s", TEXT, (23,)).encode(), SYNC)
    for value in (b"1", b"2", b"3"):
        session.client = b""
        session.say(batch(value, described=False))
    assert session.departures == 2
    assert session.target.heard[-1] == batch(b"3")
    assert session.client[:6] == b"2\0\0\0\4D"


@pytest.mark.parametrize("parsed", [TEXT, PLAIN])
async def test_a_batch_that_parses_the_unnamed_statement(parsed: bytes) -> None:
    session = await talk(masks=MASKS)
    for value in (b"1", b"2", b"3"):
        session.say(batch(value, name=b"", parsed=parsed))
    assert session.departures == 1, "the first is judged, the second is learnt"
    session.say(batch(b"4", name=b""))  # it is there
    assert session.begun[-1].action.text.encode() == parsed
    assert session.begun[-1].outcome is not None


async def test_queries_that_differ_in_numbers() -> None:
    session = await talk(masks=MASKS)
    for number in (1, 2, 30):
        session.say(Query(b"SELECT id, ssn FROM people WHERE id = %d" % number).encode())
    assert session.departures == 1
    assert [begun.action.text.rpartition(" ")[2] for begun in session.begun] == ["1", "2", "30"]
    assert SSN not in session.client


async def test_a_query_drops_what_is_unnamed() -> None:
    session = await talk()
    for _ in range(2):
        session.say(Query(b"SELECT id FROM people WHERE id = 1").encode())
    session.say(Parse(b"", PLAIN, (23,)).encode(), SYNC)
    session.say(Query(b"SELECT id FROM people WHERE id = 2").encode())
    assert session.departures == 1
    session.say(batch(b"1", name=b""))
    assert b"26000" in session.client


async def test_an_answer_in_pieces_is_the_same_answer() -> None:
    whole = await prepared()
    whole.say(batch(b"2"))
    cut = await prepared()
    cut.say(batch(b"2"), deliver=lambda answer: [answer[at : at + 1] for at in range(len(answer))])
    assert cut.client == whole.client
    assert cut.begun[-1].outcome == whole.begun[-1].outcome


async def test_an_error_is_scrubbed_and_forgets_what_failed() -> None:
    session = await prepared()
    session.say(batch(b"13"))
    assert session.departures == 2
    assert b"22012" in session.client
    assert SSN not in session.client
    outcome = session.begun[-1].outcome
    assert outcome is not None
    assert outcome.error is not None
    assert outcome.error.startswith("22012")
    session.say(batch(b"7"))
    assert session.departures == 3


async def test_whatever_else_the_target_says_is_looked_at() -> None:
    session = await prepared()
    session.say(batch(b"1"), deliver=lambda answer: [NOTICE + answer])
    assert b"by the way" in session.client
    session.client = b""
    status = parameter_status("TimeZone", "UTC")
    session.say(batch(b"1"), deliver=lambda answer: [answer[:-6] + status + answer[-6:]])
    assert b"TimeZone" in session.client
    assert session.begun[-1].outcome is not None


async def test_a_pinned_setting_that_moves_in_an_answer_ends_the_session() -> None:
    session = await prepared()
    moved = parameter_status("standard_conforming_strings", "off")
    session.say(batch(b"1"), deliver=lambda answer: [answer[:-6] + moved + answer[-6:]])
    assert session.ended is not None


async def test_more_of_the_client_while_one_is_on_its_way() -> None:
    session = await prepared()
    session.conversation.client(batch(b"1"))
    assert session.relay.flight is not None
    session.conversation.client(batch(b"2"), batch(b"3"))
    assert session.relay.flight is None
    session._settle(lambda answer: [answer])
    assert [begun.parameters[0].value for begun in session.begun[-3:]] == [b"1", b"2", b"3"]
    assert all(begun.outcome is not None for begun in session.begun)


async def test_a_change_of_policy_is_judged_anew() -> None:
    session = await prepared()
    session.gate.policy_version += 1
    session.gate.deny = lambda action: "not any more"
    judged = len(session.conversation.session.judged)
    session.say(batch(b"1"))
    assert len(session.conversation.session.judged) == judged + 1
    assert b"not any more" in session.client
    assert SSN not in session.client


async def test_a_change_of_masks_is_seen_at_once() -> None:
    session = await prepared(PLAIN, masks=ScriptedMasks())
    session.gate.masks = ScriptedMasks({"public.people.id": MaskRule("masks[0]", MaskKind.REDACT)})
    session.gate.policy_version += 1
    session.say(batch(b"7777"))
    assert b"7777" not in session.client


async def test_a_name_that_means_something_else_now() -> None:
    session = await prepared()
    session.say(close(b"S", b"s"), Parse(b"s", PLAIN, (23,)).encode(), SYNC)
    session.say(batch(b"1"))
    assert session.begun[-1].action.text.encode() == PLAIN
    session.say(close(b"S", b"s"), SYNC)
    session.client = b""
    session.say(batch(b"1"))
    assert b"26000" in session.client


async def test_what_is_parsed_is_not_what_is_bound() -> None:
    """A Parse of the unnamed statement before a Bind of another: the unnamed one means what was parsed."""
    session = await prepared()
    for value in (b"1", b"2", b"3", b"4"):
        session.say(batch(value, parsed=PLAIN, elsewhere=True))
    assert session.departures == 1, "of `prepared`"
    session.say(batch(b"5", name=b""))
    assert session.begun[-1].action.text.encode() == PLAIN
    session.say(close(b"S", b"s"), Parse(b"s", PLAIN, (23,)).encode(), SYNC)
    session.say(batch(b"6", parsed=TEXT, elsewhere=True))
    assert session.begun[-1].action.text.encode() == PLAIN


async def test_rows_where_the_target_said_that_there_are_none() -> None:
    session = await talk(masks=MASKS)
    session.say(Parse(b"s", TEXT, (23,)).encode(), SYNC)
    nothing = message(b"2") + message(b"n") + message(b"C", b"SELECT 0\0") + ready()
    for _ in range(3):
        session.conversation.client(batch(b"1"))
        session.relay.to_server.clear()  # this target does not run it
        session.hear(nothing)
    assert session.departures == 2
    session.conversation.client(batch(b"1"))
    session.relay.to_server.clear()
    assert session.departures == 3
    session.hear(nothing.replace(message(b"C", b"SELECT 0\0"), data_row((SSN,)) + message(b"C", b"SELECT 1\0")))
    assert session.ended is not None
    assert SSN not in session.client


async def test_inside_a_transaction() -> None:
    session = await talk(masks=MASKS)
    session.say(Parse(b"s", TEXT, (23,)).encode(), SYNC)
    session.say(Query(b"BEGIN").encode())
    for value in (b"1", b"2", b"3"):
        session.say(batch(value))
    assert session.departures == 2
    assert session.relay.transaction.state is TransactionState.ACTIVE
    session.client = b""
    session.say(Execute(b"").encode(), SYNC)  # the portal is there until the transaction ends
    assert b"[redacted]" in session.client
    assert SSN not in session.client
    session.say(Query(b"COMMIT").encode())
    session.say(Execute(b"").encode(), SYNC)
    assert b"34000" in session.client


async def test_what_cannot_be_recorded_does_not_go() -> None:
    session = await prepared()
    heard = len(session.target.heard)
    session.gate.journal_fault = JournalFault("taskgate: the disk is full")
    session.say(batch(b"1"))
    assert b"the disk is full" in session.client
    assert all(batch(b"1") not in sent for sent in session.target.heard[heard:])
    session.gate.journal_fault = None
    session.client = b""
    session.say(batch(b"1"))
    assert session.client.startswith(b"2")


@pytest.mark.parametrize("text", [None, b"SELECT id FROM people WHERE id = 1"])
async def test_what_cannot_even_be_begun_is_refused_and_the_session_goes_on(text: bytes | None) -> None:
    session = await prepared()
    again = batch(b"1") if text is None else Query(text).encode()
    session.say(again)
    session.say(again)
    departures, heard = session.departures, len(session.target.heard)
    full = JournalFault("taskgate: too much waits to be recorded")
    with patch.object(session.conversation.session, "begin", side_effect=full) as tried:
        session.client = b""
        session.say(again)
    assert tried.called
    assert b"too much waits to be recorded" in session.client
    assert session.ended is None
    assert session.departures == departures
    assert all(again not in sent for sent in session.target.heard[heard:])
    session.client = b""
    session.say(again)
    assert session.departures == departures + 1
    assert b"too much" not in session.client


async def test_a_session_that_ends_leaves_no_action_without_an_end() -> None:
    session = await prepared()
    session.conversation.client(batch(b"1"))
    session.relay.lost("the target closed the connection")
    outcome = session.begun[-1].outcome
    assert outcome is not None
    assert outcome.error == "the target closed the connection"


@pytest.mark.parametrize(
    "answer",
    [
        message(b"2"),
        message(b"T", b"\0\0"),
        data_row((b"1", b"2")),
        message(b"C", b"SELECT 1\0") + ready() + ready(),
        ready(b"E"),
        b"D\xff\xff\xff\xff",
    ],
)
async def test_an_answer_that_does_not_fit_ends_the_session(answer: bytes) -> None:
    session = await prepared()
    session.conversation.client(batch(b"1"))
    session.hear(answer)
    if session.ended is None:
        session.hear(ready())
    assert session.ended is not None
    assert SSN not in session.client


@pytest.mark.parametrize(
    "change",
    [
        {"recording": RecordingLevel.RESULTS},
        {"row_bound": lambda action: 5},
        {"approve": lambda action: action.executes},
    ],
    ids=["results", "bounded", "asks"],
)
async def test_what_has_to_be_looked_at_each_time_is_not_learnt(change: dict[str, object]) -> None:
    session = await talk()
    session.say(Parse(b"s", PLAIN, (23,)).encode(), SYNC)
    for name, value in change.items():
        setattr(session.gate, name, value)
    session.gate.policy_version += 1
    for value in (b"1", b"2", b"3"):
        if "approve" in change:
            session.conversation.client(batch(value))
            assert session.relay.need is Need.JUDGEMENT
            return
        session.say(batch(value))
    assert session.departures == 0
    assert session.begun[-1].outcome is not None


# --- nobody can tell --------------------------------------------------------------------------------------------------

values = st.sampled_from([b"0", b"1", b"2", b"13", None])
steps = st.one_of(
    st.tuples(st.just("batch"), values, st.booleans()),
    st.tuples(st.just("parsed"), values, st.sampled_from([TEXT, PLAIN])),
    st.tuples(st.just("query"), st.sampled_from([1, 2, 0, 13, 123456]), st.booleans()),
    st.tuples(st.just("say"), st.sampled_from([b"BEGIN", b"COMMIT", b"ROLLBACK"]), st.just(0)),
    st.tuples(st.just("execute"), st.just(0), st.just(0)),
    st.tuples(st.just("reprepare"), st.sampled_from([TEXT, PLAIN]), st.just(0)),
    st.tuples(st.just("policy"), st.booleans(), st.just(0)),
    st.tuples(st.just("two"), values, values),
    st.tuples(st.just("mixed"), values, st.sampled_from([TEXT, PLAIN])),
    st.tuples(st.just("unnamed"), values, st.booleans()),
)
cuts = st.sampled_from(["whole", "bytes", "halves", "notice", "late"])


def deliveries(cut: str) -> Callable[[bytes], list[bytes]]:
    def deliver(answer: bytes) -> list[bytes]:
        if cut == "bytes":
            return [answer[at : at + 1] for at in range(len(answer))]
        if cut == "halves":
            return [answer[: len(answer) // 2], answer[len(answer) // 2 :]]
        if cut == "notice":
            return [NOTICE + answer]
        if cut == "late":
            return [answer[:-6], answer[-6:]]
        return [answer]

    return deliver


def play(session: Talk, script: list[tuple[tuple[str, object, object], str]]) -> None:
    session.say(Parse(b"s", TEXT, (23,)).encode(), SYNC)
    for (what, one, other), cut in script:
        deliver = deliveries(cut)
        match what:
            case "batch":
                session.say(batch(one, described=bool(other)), deliver=deliver)  # type: ignore[arg-type]
            case "parsed":
                session.say(batch(one, name=b"", parsed=other), deliver=deliver)  # type: ignore[arg-type]
            case "query":
                tail = b";" if other else b""
                session.say(
                    Query(b"SELECT id, ssn FROM people WHERE id = %d%b" % (one, tail)).encode(), deliver=deliver
                )
            case "say":
                session.say(Query(one).encode(), deliver=deliver)  # type: ignore[arg-type]
            case "execute":
                session.say(Execute(b"").encode(), SYNC, deliver=deliver)
            case "reprepare":
                session.say(close(b"S", b"s"), Parse(b"s", one, (23,)).encode(), SYNC, deliver=deliver)  # type: ignore[arg-type]
            case "policy":
                session.gate.masks = MASKS if one else ScriptedMasks()
                session.gate.policy_version += 1
            case "mixed":
                session.say(batch(one, parsed=other, elsewhere=True), deliver=deliver)  # type: ignore[arg-type]
            case "unnamed":
                session.say(batch(one, name=b"", described=bool(other)), deliver=deliver)  # type: ignore[arg-type]
            case "two":
                session.say(batch(one) + batch(other), deliver=deliver)  # type: ignore[arg-type]


@settings(max_examples=300, deadline=None)
@given(st.booleans(), st.lists(st.tuples(steps, cuts), max_size=14))
def test_the_short_way_and_the_long_way_are_one(
    masked: bool, script: list[tuple[tuple[str, object, object], str]]
) -> None:
    async def both() -> None:
        short = await talk(masks=MASKS if masked else None)
        long = await talk(masks=MASKS if masked else None, known=False)
        for session in (short, long):
            play(session, script)
        assert short.ended == long.ended
        assert short.client == long.client
        assert b"".join(short.target.heard) == b"".join(long.target.heard)
        assert [recorded(begun) for begun in short.begun] == [recorded(begun) for begun in long.begun]
        assert short.relay.transaction.state == long.relay.transaction.state
        assert short.relay.state.statements.keys() == long.relay.state.statements.keys()
        assert short.relay.state.portals.keys() == long.relay.state.portals.keys()

    with patch.object(refusals.secrets, "token_hex", lambda size: "0" * 2 * size):
        asyncio.run(both())


def recorded(begun: Begun) -> tuple[object, ...]:
    outcome = begun.outcome
    ended = (
        None
        if outcome is None
        else (outcome.tag, outcome.rows, outcome.bytes_to_client, dict(outcome.masked), outcome.error)
    )
    return begun.action.text, begun.parameters, begun.committed, ended
