"""A target in miniature: it answers what PostgreSQL would to the few messages that exchanges are made of."""

from __future__ import annotations

from dataclasses import dataclass, field

from taskgate.errors import ClientFault
from taskgate.protocols.postgres import frontend
from taskgate.protocols.postgres.backend import data_row, message, ready, report, row_description
from taskgate.protocols.postgres.codec import MessageBuffer, split
from taskgate.protocols.postgres.fields import Field
from taskgate.sql.catalog import Catalog, Column, Relation

SSN = b"078-05-1120"
EMAIL = b"ann@example.com"
TABLE = 16400
CATALOG = Catalog(
    version=1,
    relations=(
        Relation(
            TABLE, "public", "people",
            (
                Column("id", 1, "pg_catalog.int4"),
                Column("ssn", 2, "pg_catalog.text"),
                Column("note", 3, "pg_catalog.text"),
            ),
        ),
    ),
    schemas=frozenset({"public", "pg_catalog"}),
)  # fmt: skip
_COLUMNS = {
    "id": Field(b"id", TABLE, 1, 23, 4, -1, 0),
    "ssn": Field(b"ssn", TABLE, 2, 25, -1, -1, 0),
    "note": Field(b"note", TABLE, 3, 25, -1, -1, 0),
}


@dataclass
class ModelTarget:
    """`feed` what the relay sends; what it answers comes back. Number 13 is an error, number 0 finds nothing."""

    status: bytes = b"I"
    statements: dict[bytes, bytes] = field(default_factory=dict)
    portal: tuple[bytes, bytes] | None = None
    skipping: bool = False
    heard: list[bytes] = field(default_factory=list)

    def feed(self, data: bytes) -> bytes:
        self.heard.append(data)
        whole, runs = MessageBuffer(ClientFault, 1 << 20).take(data)
        return b"".join(self._answer(whole[start:stop]) for run in runs for start, stop in split(whole, run))

    def _answer(self, data: bytes) -> bytes:
        kind = data[:1]
        if kind == b"S":
            self.skipping = False
            if self.status == b"I":
                self.portal = None
            return ready(self.status)
        if self.skipping:
            return b""
        if kind == b"Q":
            return self._query(frontend.Query.decode(data, 0, len(data)).text) + ready(self.status)
        if kind == b"P":
            parse = frontend.Parse.decode(data, 0, len(data))
            if parse.name and parse.name in self.statements:
                return self._failed("42P05", "it exists")
            self.statements[parse.name] = parse.text
            return message(b"1")
        if kind == b"B":
            bind = frontend.Bind.decode(data, 0, len(data))
            if bind.statement not in self.statements:
                return self._failed("26000", "no such statement")
            self.portal = (self.statements[bind.statement], bind.parameters[0] or b"" if bind.parameters else b"1")
            return message(b"2")
        if kind == b"C":
            self.statements.pop(frontend.Named.decode(data, 0, len(data)).name, None)
            return message(b"3")
        if self.portal is None:
            return self._failed("34000", "no portal")
        if kind == b"D":
            return row_description(_fields(self.portal[0]))
        assert kind == b"E"
        return self._run(*self.portal)

    def _query(self, text: bytes) -> bytes:
        self.portal = None
        self.statements.pop(b"", None)
        if text in (b"BEGIN", b"COMMIT", b"ROLLBACK"):
            self.status = b"T" if text == b"BEGIN" else b"I"
            return message(b"C", text + b"\0")
        if self.status == b"E":
            return self._failed("25P02", "aborted")
        if not text.startswith(b"SELECT "):
            answer = self._failed("42601", f"syntax error at or near {text.decode()}")
            self.skipping = False  # a Query ends by itself
            return answer
        number = text.rstrip(b";").rpartition(b" ")[2]
        return row_description(_fields(text)) + self._run(text, number if number.isdigit() else b"1")

    def _run(self, text: bytes, value: bytes) -> bytes:
        if self.status == b"E":
            return self._failed("25P02", "aborted")
        if value == b"13":
            return self._failed("22012", f"bad luck with {SSN.decode()}")
        count = 0 if value == b"0" else 2 if value == b"2" else 1
        cells = {"id": value, "ssn": SSN, "note": b"write to " + EMAIL if value == b"2" else b"nothing"}
        row = data_row(tuple(cells[one.name.decode()] for one in _fields(text)))
        return row * count + message(b"C", b"SELECT %d\0" % count)

    def _failed(self, code: str, text: str) -> bytes:
        self.skipping = True
        if self.status == b"T":
            self.status = b"E"
        return report("ERROR", code, text).encode(b"E")


def _fields(text: bytes) -> tuple[Field, ...]:
    chosen = text.decode().partition(" FROM ")[0].removeprefix("SELECT ").split(", ")
    return tuple(_COLUMNS[name] for name in chosen)
