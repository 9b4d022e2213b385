from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskgate.domain import MaskKind, MaskRule
from taskgate.errors import ClientFault, MaskingFault, TargetFault
from taskgate.masking.plan import MaskPlan
from taskgate.protocols.postgres.copy import CopyMasker
from taskgate.protocols.postgres.copy_format import CopyFormat

TEXT, CSV = CopyFormat(), CopyFormat.csv()
REDACT = MaskRule("masks[0]", MaskKind.REDACT)
NULL = MaskRule("masks[1]", MaskKind.NULL)
PARTIAL = MaskRule("masks[2]", MaskKind.PARTIAL)
DETECTORS = {name: MaskRule(name, MaskKind.REDACT) for name in ("email", "credit_card")}
SECOND = MaskPlan(True, (None, REDACT))
SEARCH = MaskPlan(True, detectors=DETECTORS)


def fed(plan: MaskPlan, data: bytes, layout: CopyFormat = TEXT, columns: int = 2, *, step: int = 0) -> bytes:
    masker = CopyMasker(plan, columns, layout)
    chunks = [data[at : at + step] for at in range(0, len(data), step)] if step else [data]
    rows = [row for chunk in chunks for row in masker.feed(chunk)]
    masker.finish()
    assert all(row.endswith(b"\n") for row in rows)
    return b"".join(rows)


@pytest.mark.parametrize("step", [0, 1, 2, 3, 7])
@pytest.mark.parametrize(
    ("layout", "data", "expected"),
    [
        (TEXT, b"1\tsecret\n2\t\\N\n", b"1\t[redacted]\n2\t\\N\n"),
        (TEXT, b"a\\tb\tsec\\nret\\\\\n\\N\tx\n", b"a\\tb\t[redacted]\n\\N\t[redacted]\n"),
        (TEXT, b"a\\\\\tsecret\n\\.\n", b"a\\\\\t[redacted]\n\\.\n"),
        (CopyFormat(b"|"), b"a\\|b|secret\\|x\na\\\\|secret\n", b"a\\|b|[redacted]\na\\\\|[redacted]\n"),
        (CopyFormat(null=b"NIL", header=True), b"id\tssn\n1\tNIL\n2\tsecret\n", b"id\tssn\n1\tNIL\n2\t[redacted]\n"),
        (CSV, b'1,secret\n2,\n3,""\n', b"1,[redacted]\n2,\n3,[redacted]\n"),
        (CSV, b'"a,""b",secret\n"x\ny","sec\nret"\n', b'"a,""b",[redacted]\n"x\ny",[redacted]\n'),
        (CSV, b'"a\n""\n",secret\n', b'"a\n""\n",[redacted]\n'),
        (
            CopyFormat.csv(escape=b"\\"),
            b'"a\\"\n\\\\",secret\n"\\x\n",s\n',
            b'"a\\"\n\\\\",[redacted]\n"\\x\n",[redacted]\n',
        ),
        (CopyFormat.csv(b";", quote=b"'", header=True), b"a;b\n'x;''';'y'\n", b"a;b\n'x;''';[redacted]\n"),
        (CopyFormat.csv(null=b"NULL"), b'NULL,NULL\n1,"NULL"\n', b"NULL,NULL\n1,[redacted]\n"),
    ],
)
def test_masks_by_position(layout: CopyFormat, data: bytes, expected: bytes, step: int) -> None:
    assert fed(SECOND, data, layout, step=step) == expected


@pytest.mark.parametrize("step", [0, 1, 5])
@pytest.mark.parametrize(
    ("layout", "data", "expected"),
    [
        (TEXT, b"1\tto bob@example.com\\n\n2\tx\n", b"1\tto [redacted]\\n\n2\tx\n"),
        (TEXT, b"1\tx\\n4111111111111111\n", b"1\tx\\n[redacted]\n"),
        (TEXT, b"4111111111111111\t\\N\n", b"[redacted]\t\\N\n"),
        (TEXT, b"1\t\\\\x" + b"bob@example.com".hex().encode() + b"\n", b"1\t\\N\n"),
        (TEXT, b'1\t{"n": 4111111111111111}\n', b'1\t{"n": "[redacted]"}\n'),
        (TEXT, b"1\t{a@b.co,4111111111111111}\n", b'1\t{[redacted],[redacted]}\n'),
        (CSV, b'1,"to ""bob@example.com"", ok"\n', b'1,"to ""[redacted]"", ok"\n'),
        (CSV, b'1,"x\nbob@example.com"\n', b'1,"x\n[redacted]"\n'),
        (CopyFormat(b"."), b"1.bob@example\\.com\n", b"1.[redacted]\n"),
        (CopyFormat.csv(quote=b"@"), b"1,@bob@@example.com@\n", b"1,[redacted]\n"),
        (CopyFormat.csv(b"-"), b"1-\"4111-1111-1111-1111\"\n", b"1-[redacted]\n"),
    ],
)  # fmt: skip
def test_detectors(layout: CopyFormat, data: bytes, expected: bytes, step: int) -> None:
    assert fed(SEARCH, data, layout, step=step) == expected


def test_headers_are_names_not_values() -> None:
    layout = CopyFormat.csv(header=True)
    assert fed(SEARCH, b"a@b.co,x\nc@d.co,y\n", layout) == b"a@b.co,x\n[redacted],y\n"


def test_null_and_partial() -> None:
    data = b"4111111111111234\tsecret\n"
    plan = MaskPlan(True, (PARTIAL, NULL))
    plain = CopyMasker(plan, 2, TEXT, from_relation=True)
    assert plain.feed(data) == [b"****1234\t\\N\n"]
    assert plain.counts == {"masks[2]": 1, "masks[1]": 1}
    assert CopyMasker(plan, 2, TEXT).feed(data) == [b"[redacted]\t\\N\n"], "of a query's output no part is shown"


def test_clean_blocks_pass_as_they_are() -> None:
    data = b"1\tclean\n" * 1000
    assert fed(SEARCH, data) == data
    assert CopyMasker(MaskPlan(), 2, TEXT).identity


def test_unknown_columns_are_refused_where_some_are_masked() -> None:
    with pytest.raises(MaskingFault):
        CopyMasker(MaskPlan(True, None, origins={(1, 1): REDACT}), 2, TEXT)
    assert fed(MaskPlan(True, None, whole=REDACT), b"a\tb\n") == b"[redacted]\t[redacted]\n"


@pytest.mark.parametrize("data", [b"1\n", b"1\t2\t3\n", b"\n"])
def test_another_number_of_columns_is_the_targets_fault(data: bytes) -> None:
    with pytest.raises(TargetFault):
        fed(SECOND, data)


def test_a_stream_that_ends_inside_a_row() -> None:
    with pytest.raises(TargetFault):
        fed(SECOND, b"1\tsecret")


def test_a_row_that_never_ends_is_refused_in_time() -> None:
    masker = CopyMasker(SECOND, 2, CSV, most_row_bytes=1000)
    assert masker.feed(b'"' + b"x\n" * 400) == []
    with pytest.raises(MaskingFault):
        masker.feed(b"x\n" * 400)


def test_relation_without_columns() -> None:
    assert fed(MaskPlan(True, (), detectors=DETECTORS), b"\n\n", columns=0) == b"\n\n"


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, CopyFormat()),
        ({"format": "csv"}, CopyFormat.csv()),
        (
            {"format": "CSV", "header": "", "quote": "'", "null": "-"},
            CopyFormat.csv(quote=b"'", null=b"-", header=True),
        ),
        ({"delimiter": "|", "header": "false"}, CopyFormat(b"|")),
        ({"format": "csv", "escape": "\\"}, CopyFormat.csv(escape=b"\\")),
    ],
)
def test_options(options: dict[str, str], expected: CopyFormat) -> None:
    assert CopyFormat.of(options) == expected


@pytest.mark.parametrize("options", [{"format": "binary"}, {"delimiter": "ab"}, {"format": "csv", "quote": "é"}])
def test_options_that_cannot_be(options: dict[str, str]) -> None:
    with pytest.raises(ClientFault):
        CopyFormat.of(options)


values = st.lists(
    st.tuples(st.one_of(st.none(), st.text(max_size=8)), st.one_of(st.none(), st.text(max_size=8))), max_size=6
)


def printable(table: list[tuple[str | None, str | None]]) -> list[tuple[bytes | None, bytes | None]]:
    """PostgreSQL's text has no NUL and is valid UTF-8."""
    return [
        (
            None if a is None else a.replace("\0", "").encode("utf-8", "ignore"),
            None if b is None else b.replace("\0", "").encode("utf-8", "ignore"),
        )
        for a, b in table
    ]


layouts = st.sampled_from(
    [TEXT, CSV, CopyFormat(b"|"), CopyFormat.csv(escape=b"\\"), CopyFormat.csv(b";", b"~", b"'")],
)


@given(values, layouts, st.integers(1, 9))
def test_any_table_keeps_its_first_column_and_loses_its_second(
    table: list[tuple[str | None, str | None]], layout: CopyFormat, step: int
) -> None:
    rows = printable(table)
    data = b"".join(layout.delimiter.join(map(layout.written, row)) + b"\n" for row in rows)
    out = fed(SECOND, data, layout, step=step)
    masked = [(first, None if second is None else b"[redacted]") for first, second in rows]
    assert out == b"".join(layout.delimiter.join(map(layout.written, row)) + b"\n" for row in masked)


@given(st.lists(st.lists(st.text(alphabet='ab,"\n x', max_size=6), min_size=2, max_size=2), min_size=1, max_size=5))
def test_csv_reads_as_somebody_else_reads_it(table: list[list[str]]) -> None:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(table)
    out = fed(SECOND, text.getvalue().encode(), CopyFormat.csv(null=b"never"))
    assert list(csv.reader(io.StringIO(out.decode()))) == [[first, "[redacted]"] for first, _ in table]


def test_a_spared_column_is_not_searched_its_neighbour_is() -> None:
    plan = MaskPlan(True, (None, None), detectors=DETECTORS, spared=(True, False))
    assert fed(plan, b"a@example.com\tb@example.com\n") == b"a@example.com\t[redacted]\n"
    assert fed(plan, b"a@example.com,b\n", CSV) == b"a@example.com,b\n"
