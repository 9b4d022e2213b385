"""A client that talks to a target in miniature, through a relay that may know what is said."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from taskgate.domain import MaskKind, MaskRule
from taskgate.errors import ClientFault, TargetFault, TaskgateError
from taskgate.protocols.postgres.backend import report
from taskgate.protocols.postgres.frontend import SYNC, Bind, Execute, Parse, describe
from taskgate.protocols.postgres.needs import Need
from tests.servers.gate import Begun, ScriptedGate, ScriptedMasks, loopback_target
from tests.unit.protocols.postgres.conversation import Conversation, begin
from tests.unit.protocols.postgres.model_target import CATALOG, ModelTarget

TEXT = b"SELECT id, ssn, note FROM people WHERE id = $1"
PLAIN = b"SELECT id FROM people WHERE id = $1"
MASKS = ScriptedMasks(
    {"public.people.ssn": MaskRule("masks[0]", MaskKind.REDACT)}, {"email": MaskRule("email", MaskKind.REDACT)}
)
NOTICE = report("NOTICE", "00000", "by the way").encode(b"N")


def batch(
    value: bytes | None,
    *,
    name: bytes = b"s",
    described: bool = True,
    parsed: bytes | None = None,
    elsewhere: bool = False,
) -> bytes:
    """[Parse] Bind [Describe] Execute Sync. `elsewhere`: the Parse is of the unnamed statement, whatever is bound."""
    return b"".join((
        b"" if parsed is None else Parse(b"" if elsewhere else name, parsed, (23,)).encode(),
        Bind(b"", name, (), (value,)).encode(),
        describe(b"P", b"") if described else b"",
        Execute(b"").encode(),
        SYNC,
    ))  # fmt: skip


@dataclass
class Talk:
    """A client, the relay, and a target in miniature. `client` holds all that the client got."""

    conversation: Conversation
    known: bool = True
    target: ModelTarget = field(default_factory=ModelTarget)
    client: bytes = b""
    departures: int = 0
    ended: str | None = None

    def __post_init__(self) -> None:
        exchanges = self.relay._exchanges
        depart = exchanges.depart

        def counted(data: bytes) -> bool:
            gone = self.known and depart(data)
            self.departures += gone
            return gone

        exchanges.depart = counted  # type: ignore[method-assign]

    @property
    def relay(self):  # type: ignore[no-untyped-def]
        return self.conversation.relay

    @property
    def gate(self) -> ScriptedGate:
        return self.conversation.session.gate

    @property
    def begun(self) -> list[Begun]:
        return self.conversation.session.begun

    def say(self, *data: bytes, deliver: Callable[[bytes], list[bytes]] = lambda answer: [answer]) -> None:
        """The client says it; `deliver` cuts the target's answer into what arrives at a time."""
        self._guarded(lambda: self.conversation.client(*data))
        self._settle(deliver)

    def hear(self, data: bytes) -> None:
        """The target says something of its own accord."""
        self._guarded(lambda: self.conversation.server(data))
        self._settle(lambda answer: [answer])

    def _guarded(self, step: Callable[[], None]) -> None:
        if self.ended is not None:
            return
        try:
            step()
        except (ClientFault, TargetFault) as fault:
            self.ended = str(fault)
        self.client += b"".join(self.relay.to_client)
        self.relay.to_client.clear()

    def _settle(self, deliver: Callable[[bytes], list[bytes]]) -> None:
        while self.ended is None:
            if self.relay.need is Need.JUDGEMENT:
                verdict = driven(self.conversation.session.judge(self.relay.action, self))  # type: ignore[arg-type]
                self._guarded(lambda verdict=verdict: self.relay.judged(verdict))  # type: ignore[misc]
                self._guarded(self.conversation.round)
            sent = b"".join(self.relay.to_server)
            self.relay.to_server.clear()
            if sent:
                for piece in deliver(self.target.feed(sent)):
                    if piece:
                        self._guarded(lambda piece=piece: self.conversation.server(piece))  # type: ignore[misc]
            elif self.relay.need is not Need.JUDGEMENT:
                return


def driven(step: Awaitable[object]) -> object:
    """What a coroutine that waits for nothing returns, or the refusal that it raises."""
    try:
        step.__await__().send(None)  # type: ignore[attr-defined]
    except StopIteration as done:
        return done.value
    except TaskgateError as error:
        return error
    raise AssertionError("it waits")


async def talk(*, known: bool = True, masks: ScriptedMasks | None = None, version: str = "18.0") -> Talk:
    gate = ScriptedGate(loopback_target(1), "secret")
    gate.catalog = CATALOG
    gate.masks = masks or ScriptedMasks()
    return Talk(await begin(version, gate), known)


async def prepared(text: bytes = TEXT, *, masks: ScriptedMasks | None = MASKS) -> Talk:
    """With a statement `s` that has run twice: the second time it was known."""
    session = await talk(masks=masks)
    session.say(Parse(b"s", text, (23,)).encode(), SYNC)
    for value in (b"1", b"2"):
        session.say(batch(value))
    assert session.departures == 1
    session.client = b""
    return session
