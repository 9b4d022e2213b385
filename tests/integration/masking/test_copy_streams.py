"""COPY TO of real servers through the masks, and back into a table: what PostgreSQL reads is what it should be."""

from __future__ import annotations

import psycopg
import pytest

from taskgate.demo.postgres_server import PostgresServer
from taskgate.domain import MaskKind, MaskRule
from taskgate.masking.plan import MaskPlan
from taskgate.protocols.postgres.copy import CopyMasker
from taskgate.protocols.postgres.copy_format import CopyFormat

OPTIONS: dict[str, dict[str, str]] = {
    "text": {},
    "text with bars": {"delimiter": "|", "null": "NIL"},
    "csv": {"format": "csv"},
    "csv with header": {"format": "csv", "header": "true"},
    "csv with everything else": {"format": "csv", "delimiter": ";", "quote": "'", "escape": "\\", "null": "-"},
    "csv all quoted": {"format": "csv", "force_quote": "*"},
}
VALUES = ("plain", "", None, "tab\there", "line\nbreak", "cr\r\n", "back\\slash", '"quoted"', "it's", "a,b;c|d", "\\N",
          "NIL", "-", "\\.", "é\u200b–😀", "ends in \\", "'", '"', "\b\f\v")  # fmt: skip
EMAIL = "canary.bob@example.com"


def statement(options: dict[str, str]) -> str:
    parts = []
    for name, value in options.items():
        text = value if name in ("format", "header", "force_quote") else "'" + value.replace("'", "''") + "'"
        parts.append(f"{name} {text}")
    return f"({', '.join(parts)})" if parts else ""


@pytest.mark.parametrize("step", [0, 1, 5, 64])
@pytest.mark.parametrize("name", OPTIONS)
def test_pg_11_copied_out_masked_and_back_in(postgres: PostgresServer, name: str, step: int) -> None:
    options = OPTIONS[name]
    plan = MaskPlan(
        True,
        (None, None, MaskRule("m", MaskKind.REDACT), MaskRule("n", MaskKind.NULL), None),
        detectors={"email": MaskRule("email", MaskKind.REDACT)},
    )
    with psycopg.connect(postgres.dsn()) as connection:
        connection.execute("CREATE TEMP TABLE source (id int, open text, ssn text, pin text, note text)")
        connection.execute("CREATE TEMP TABLE arrived (LIKE source)")
        for number, value in enumerate(VALUES):
            note = None if value is None else f"{value}{EMAIL} {value}"
            connection.execute("INSERT INTO source VALUES (%s, %s, %s, %s, %s)", (number, value, value, value, note))
        with connection.cursor().copy(f"COPY source TO STDOUT {statement(options)}") as out:
            data = b"".join(bytes(chunk) for chunk in out)
        masker = CopyMasker(plan, 5, CopyFormat.of(options), from_relation=True)
        pieces = [data[at : at + step] for at in range(0, len(data), step)] if step else [data]
        masked = b"".join(row for piece in pieces for row in masker.feed(piece))
        masker.finish()
        assert EMAIL.encode() not in masked
        back = {key: value for key, value in options.items() if key != "force_quote"}
        with connection.cursor().copy(f"COPY arrived FROM STDIN {statement(back)}") as into:
            into.write(masked)
        found = connection.execute("SELECT * FROM arrived ORDER BY id").fetchall()
    assert len(found) == len(VALUES)
    # Under text with NULL as a word the server itself cannot tell the word from NULL.
    null = {None, "NIL"} if options.get("null") == "NIL" else {None}
    for (_, opened, ssn, pin, note), value in zip(found, VALUES, strict=True):
        assert opened == (None if value in null else value)
        assert ssn == (None if value in null else "[redacted]")
        assert pin is None
        if value is None:
            assert note is None
        else:
            assert note is not None
            assert "[redacted]" in note
    assert masker.counts["email"] == len(VALUES) - 1
