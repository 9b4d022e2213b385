"""A relay without sockets: what a client and a target say to it, and what comes of it."""

from __future__ import annotations

from taskgate.enforcement.contracts import Permit
from taskgate.errors import TargetFault
from taskgate.masking.plan import UNMASKED
from taskgate.protocols.postgres.backend import data_row, message, ready, report, row_description
from taskgate.protocols.postgres.codec import MessageBuffer, split
from taskgate.protocols.postgres.fields import Field
from taskgate.protocols.postgres.limits import Limits
from taskgate.protocols.postgres.needs import Need
from taskgate.protocols.postgres.relay import Relay
from taskgate.protocols.postgres.server_settings import ServerSettings
from taskgate.protocols.postgres.statements import Analyst
from taskgate.sql.postgres import analyze
from tests.servers.gate import USER, ScriptedGate, ScriptedSession, loopback_target

COMPLETE = message(b"C", b"SELECT 1\0")
ROWS = row_description((Field(b"a", 0, 0, 23, 4, -1, 0),)) + data_row((b"1",)) + COMPLETE
BEGUN = message(b"C", b"BEGIN\0")
FAILED = report("ERROR", "26000", "no such statement").encode(b"E")
PERMIT = Permit(("rule",), (UNMASKED,))


class Conversation:
    """`client` and `server` say something; `to_server` and `to_client` are the types of what came of it since."""

    def __init__(self, session: ScriptedSession, version: str) -> None:
        self.session = session
        settings = ServerSettings("postgres")
        for name, value in (
            ("server_version", version),
            ("client_encoding", "UTF8"),
            ("standard_conforming_strings", "on"),
        ):
            settings.report(name, value)
        if version.startswith("18"):
            settings.report("search_path", "public")
        settings.started()
        self.relay = Relay(session, settings, Analyst(analyze), Limits())
        self.relay.start()

    def client(self, *data: bytes) -> None:
        self.relay.client_data(b"".join(data))
        self.round()

    def server(self, *data: bytes) -> None:
        self.relay.server_data(b"".join(data))
        self.round()

    def judged(self) -> None:
        assert self.relay.need is Need.JUDGEMENT
        self.relay.judged(PERMIT)
        self.round()

    def round(self) -> None:
        if self.relay.committing:
            self.relay.commit()

    @property
    def to_server(self) -> str:
        return kinds(self.relay.to_server)

    @property
    def to_client(self) -> str:
        return kinds(self.relay.to_client)


def kinds(chunks: list[bytes]) -> str:
    data, runs = MessageBuffer(TargetFault, 2**31).take(b"".join(chunks))
    chunks.clear()
    return "".join(chr(data[start]) for run in runs for start, _ in split(data, run))


async def begin(version: str, gate: ScriptedGate | None = None) -> Conversation:
    """A session that has just started, its `search_path` known."""
    gate = gate or ScriptedGate(loopback_target(1), "secret")
    credential = await gate.credential(USER)
    assert credential is not None
    conversation = Conversation(ScriptedSession(gate, credential, 1), version)
    if version == "15.3":
        assert conversation.to_server == "PBECCS", "it asks for search_path first"
        cells = (b"on", b"UTF8", b"public", b"postgres")
        conversation.server(message(b"1"), message(b"2"), data_row(cells), COMPLETE, message(b"3") * 2, ready())
        assert conversation.to_client == ""
    return conversation
