from __future__ import annotations

import struct
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskgate.domain import MaskKind, MaskRule
from taskgate.errors import ClientFault, MaskingFault, TargetFault
from taskgate.masking.plan import MaskPlan
from taskgate.protocols.postgres.backend import data_row
from taskgate.protocols.postgres.fields import Field
from taskgate.protocols.postgres.rows import UNSEARCHABLE, ResultMasker, insist_on_rows
from taskgate.protocols.postgres.types import TEXT_OID

INT4, INT8, TEXT, UUID, INET, JSONB, BYTEA, TEXT_ARRAY, ENUM, HSTORE_LIKE = (
    23,
    20,
    25,
    2950,
    869,
    3802,
    17,
    1009,
    16500,
    16600,
)
REDACT = MaskRule("masks[0]", MaskKind.REDACT)
NULL = MaskRule("masks[1]", MaskKind.NULL)
HASH = MaskRule("masks[2]", MaskKind.HASH)
PARTIAL = MaskRule("masks[3]", MaskKind.PARTIAL)
DETECTORS = {name: MaskRule(name, MaskKind.REDACT) for name in ("email", "credit_card")}
SEARCH = MaskPlan(True, detectors=DETECTORS)


def field(name: str = "c", type_oid: int = TEXT, origin: tuple[int, int] = (7, 1), code: int = 0) -> Field:
    return Field(name.encode(), *origin, type_oid, -1, 12, code)


def row(*cells: bytes | None) -> bytes:
    body = struct.pack("!h", len(cells)) + b"".join(
        b"\xff\xff\xff\xff" if cell is None else struct.pack("!i", len(cell)) + cell for cell in cells
    )
    return b"D" + struct.pack("!i", len(body) + 4) + body


def rewritten(plan: MaskPlan, fields: list[Field], *cells: bytes | None, formats: tuple[int, ...] = ()) -> bytes:
    return bytes(ResultMasker(plan, fields).rewriter(formats).rewrite(row(*cells)))


# --- description and formats ------------------------------------------------------------------------------------------


def test_masked_columns_are_text_without_an_origin() -> None:
    masker = ResultMasker(MaskPlan(True, (None, REDACT)), [field("a", INT4), field("b", INT4)])
    assert masker.described() == (field("a", INT4), Field(b"b", 0, 0, TEXT_OID, -1, -1, 0))


def test_a_portal_is_described_in_the_formats_asked_for() -> None:
    masker = ResultMasker(MaskPlan(True, (None, REDACT)), [field("a", INT4), field("b", INT4)])
    assert [seen.format for seen in masker.described([1])] == [1, 1]
    assert [seen.format for seen in masker.described([0, 1])] == [0, 1]
    assert [seen.format for seen in masker.described([])] == [0, 0]


def test_a_column_that_becomes_null_keeps_its_type() -> None:
    masker = ResultMasker(MaskPlan(True, (NULL,)), [field("a", INT4)])
    assert masker.described() == (Field(b"a", 0, 0, INT4, -1, 12, 0),)
    assert masker.fetch_formats([1]) == [1]


@pytest.mark.parametrize(("asked", "fetched"), [([], [0, 0]), ([0], [0, 0]), ([1], [1, 0]), ([0, 1], [0, 0])])
def test_masked_columns_are_fetched_as_text(asked: list[int], fetched: list[int]) -> None:
    assert ResultMasker(MaskPlan(True, (None, REDACT)), [field(), field()]).fetch_formats(asked) == fetched


def test_formats_pass_where_nothing_is_forced() -> None:
    assert ResultMasker(SEARCH, [field(), field()]).fetch_formats([1]) == [1]


def test_another_number_of_formats_is_the_clients_fault() -> None:
    masker = ResultMasker(MaskPlan(True, (REDACT, None, None)), [field()] * 3)
    with pytest.raises(ClientFault):
        masker.fetch_formats([0, 1])


@pytest.mark.parametrize("type_oid", [ENUM, HSTORE_LIKE, 2249, 3614, 3906, 1034])
def test_types_that_cannot_be_searched_in_binary_become_text(type_oid: int) -> None:
    masker = ResultMasker(SEARCH, [field("c", type_oid)])
    assert masker.described()[0].type_oid == TEXT_OID
    assert masker.described()[0].table_oid == 7, "nothing of it is masked yet"
    assert masker.fetch_formats([1]) == [0]
    plain = ResultMasker(MaskPlan(True, (None,)), [field("c", type_oid)])
    assert plain.described()[0].type_oid == type_oid


def test_network_addresses_matter_only_to_detectors_of_such() -> None:
    assert ResultMasker(SEARCH, [field("c", INET)]).identity
    looking = MaskPlan(True, detectors={"ipv4": MaskRule("ipv4", MaskKind.REDACT)})
    assert ResultMasker(looking, [field("c", INET)]).described()[0].type_oid == TEXT_OID
    assert b"[redacted]" in rewritten(looking, [field("c", INET)], b"10.1.2.3/32")


def test_identity() -> None:
    assert ResultMasker(MaskPlan(), [field()]).identity
    assert ResultMasker(SEARCH, [field("c", INT4), field("d", UUID)]).identity
    assert not ResultMasker(SEARCH, [field("c", INT8)]).identity
    frames = row(b"x")
    assert ResultMasker(MaskPlan(), [field()]).rewriter(()).rewrite(frames) is frames


def test_a_result_with_other_columns_than_planned_is_refused() -> None:
    with pytest.raises(MaskingFault):
        ResultMasker(MaskPlan(True, (REDACT,)), [field(), field()])


# --- masks by position and origin -------------------------------------------------------------------------------------


def test_redact_null_hash_partial() -> None:
    plan = MaskPlan(True, (REDACT, NULL, HASH, PARTIAL, None), hash_key=b"k")
    masker = ResultMasker(plan, [field()] * 5)
    rewriter = masker.rewriter([])
    out = bytes(rewriter.rewrite(row(b"secret1", b"secret2", b"secret3", b"4111111111111234", b"open")))
    assert out.startswith(b"D")
    assert b"secret" not in out
    assert b"[redacted]" in out
    assert b"****1234" in out
    assert b"open" in out
    assert rewriter.counts == {rule.id: 1 for rule in (REDACT, NULL, HASH, PARTIAL)}


def test_null_stays_null_and_is_not_counted() -> None:
    rewriter = ResultMasker(MaskPlan(True, (REDACT,)), [field()]).rewriter([])
    assert rewriter.rewrite(row(None)) == row(None)
    assert rewriter.counts == {}


def test_the_origin_is_a_net_below_the_analysis() -> None:
    plan = MaskPlan(True, (None,), origins={(7, 2): REDACT})
    assert rewritten(plan, [field(origin=(7, 2))], b"secret") == row(b"[redacted]")
    assert rewritten(plan, [field(origin=(7, 3))], b"open") == row(b"open")


def test_the_strictest_of_position_and_origin_counts() -> None:
    plan = MaskPlan(True, (PARTIAL,), origins={(7, 1): NULL})
    assert rewritten(plan, [field()], b"secret") == row(None)


@pytest.mark.parametrize("rule", [HASH, PARTIAL])
def test_an_expression_is_never_shown_in_part(rule: MaskRule) -> None:
    assert rewritten(MaskPlan(True, (rule,), hash_key=b"k"), [field(origin=(0, 0))], b"12345") == row(b"[redacted]")


@pytest.mark.parametrize("rule", [HASH, PARTIAL])
def test_binary_values_without_text_are_redacted(rule: MaskRule) -> None:
    """Of a binary cursor: Bind asked for text, the cursor says otherwise."""
    plan = MaskPlan(True, (rule,), hash_key=b"k")
    assert rewritten(plan, [field("c", INT4)], b"\0\0\1\2", formats=(1,)) == row(b"[redacted]")
    assert rewritten(plan, [field("c", TEXT)], b"abcdefgh", formats=(1,)) != row(b"[redacted]")


def test_a_plan_for_unknown_outputs_masks_everything() -> None:
    plan = MaskPlan(True, None, whole=REDACT, touched=True)
    assert rewritten(plan, [field("a", INT4), field("b")], b"1", b"x") == row(b"[redacted]", b"[redacted]")


# --- detectors --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("type_oid", "code", "cell", "expected"),
    [
        (TEXT, 0, b"to bob@example.com", b"to [redacted]"),
        (TEXT, 1, b"to bob@example.com", b"to [redacted]"),
        (1042, 1, b"bob@example.com   ", b"[redacted]   "),
        (INT8, 0, b"4111111111111111", None),
        (INT8, 1, struct.pack("!q", 4111111111111111), None),
        (INT8, 1, struct.pack("!q", 4111111111111112), struct.pack("!q", 4111111111111112)),
        (1700, 0, b"4111111111111111.00", None),
        (1700, 1, struct.pack("!hhHh4h", 4, 3, 0, 0, 4111, 1111, 1111, 1111), None),
        (701, 0, b"4.111111111111111e+15", None),
        (701, 1, struct.pack("!d", 4111111111111111.0), None),
        (114, 0, b'{"n": 4111111111111111}', b'{"n": "[redacted]"}'),
        (JSONB, 1, b'\x01{"m": "bob@example.com"}', b'\x01{"m": "[redacted]"}'),
        (BYTEA, 0, b"\\x" + b"bob@example.com".hex().encode(), None),
        (BYTEA, 0, b"bob@example.com\\000", None),
        (BYTEA, 1, b"\0\1bob@example.com\xff", None),
        (TEXT_ARRAY, 0, b"{bob@example.com,x}", b"{[redacted],x}"),
        (1016, 0, b"{4111111111111111}", None),
        (1001, 0, b'{"\\\\x' + b"bob@example.com".hex().encode() + b'"}', None),
        (ENUM, 0, b'(1,"bob@example.com")', b'(1,"[redacted]")'),
        (ENUM, 0, b'(1,"\\\\x' + b"bob@example.com".hex().encode() + b'")', b'(1,"\\\\x[redacted]")'),
        (3906, 0, b"[4111111111111111,4111111111111112)", b"[[redacted],4111111111111112)"),
        (UUID, 0, b"bob@example.com", b"bob@example.com"),  # never searched: no uuid holds that
    ],
)
def test_what_a_finding_becomes(type_oid: int, code: int, cell: bytes, expected: bytes | None) -> None:
    assert rewritten(SEARCH, [field("c", type_oid)], cell, formats=(code,)) == row(expected)


def array(*elements: bytes | None, dimensions: int = 1) -> bytes:
    shape = struct.pack("!ii", len(elements), 1) + struct.pack("!ii", 1, 1) * (dimensions - 1)
    return (
        struct.pack("!iii", dimensions, 1, 25)
        + shape
        + b"".join(
            b"\xff\xff\xff\xff" if element is None else struct.pack("!i", len(element)) + element
            for element in elements
        )
    )


def test_binary_arrays_are_replaced_element_by_element() -> None:
    rewriter = ResultMasker(SEARCH, [field("c", TEXT_ARRAY)]).rewriter([1])
    out = rewriter.rewrite(row(array(b"bob@example.com", None, b"open", b"4111 1111 1111 1111", dimensions=2)))
    assert out == row(array(b"[redacted]", None, b"open", b"[redacted]", dimensions=2))
    assert rewriter.counts == {"email": 1, "credit_card": 1}


def test_empty_binary_array() -> None:
    empty = struct.pack("!iii", 0, 0, 25)
    assert rewritten(SEARCH, [field("c", TEXT_ARRAY)], empty, formats=(1,)) == row(empty)


@pytest.mark.parametrize("code", [3807, 1016, 1231, 1001])
def test_other_binary_arrays_become_null(code: int) -> None:
    element = {
        3807: b'\x01"bob@example.com"',
        1016: struct.pack("!q", 4111111111111111),
        1231: struct.pack("!hhHh4h", 4, 3, 0, 0, 4111, 1111, 1111, 1111),
        1001: b"bob@example.com",
    }[code]
    assert rewritten(SEARCH, [field("c", code)], array(element), formats=(1,)) == row(None)


def test_what_cannot_be_searched_becomes_null() -> None:
    """A binary cursor over a type nobody knows: the description said text, the bytes are something else."""
    rewriter = ResultMasker(SEARCH, [field("c", ENUM)]).rewriter([1])
    assert rewriter.rewrite(row(b"\0\1\2\3")) == row(None)
    assert rewriter.counts == {UNSEARCHABLE: 1}


def test_clean_rows_are_the_same_object() -> None:
    frames = row(b"clean", b"rows") * 50
    assert ResultMasker(SEARCH, [field(), field()]).rewriter([]).rewrite(frames) is frames


def test_values_in_neighbouring_cells_do_not_make_one() -> None:
    frames = row(b"bob@", b"example.com")
    assert ResultMasker(SEARCH, [field(), field()]).rewriter([]).rewrite(frames) is frames


def test_a_masked_column_is_not_searched() -> None:
    rewriter = ResultMasker(MaskPlan(True, (REDACT, None), detectors=DETECTORS), [field(), field()]).rewriter([])
    assert rewriter.rewrite(row(b"bob@example.com", b"a@b.co")) == row(b"[redacted]", b"[redacted]")
    assert rewriter.counts == {"masks[0]": 1, "email": 1}


def test_many_rows_lengths_stay_right() -> None:
    frames = b"".join(
        row(b"n%d" % number, b"x" * (number % 70) + b" b%d@example.com" % number) for number in range(300)
    )
    rewriter = ResultMasker(SEARCH, [field(), field()]).rewriter([])
    out = rewriter.rewrite(frames)
    assert out == b"".join(row(b"n%d" % number, b"x" * (number % 70) + b" [redacted]") for number in range(300))
    assert rewriter.counts == {"email": 300}


# --- rows that are none -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("plan", [SEARCH, MaskPlan(True, (REDACT,)), MaskPlan(True, (None,))])
@pytest.mark.parametrize(
    "frames",
    [
        b"D\0\0\0\x0a\0\1\xff\xff\xff\xfe",
        b"D\0\0\0\x0b\0\1\xff\xff\xff\xffx",
        row(b"a", b"b"),
        row(),
        row(b"a")[:-1],
        row(b"a") + b"D\0",
        b"C\0\0\0\x0a\0\1\xff\xff\xff\xff",
        b"D\x7f\xff\xff\xff\0\1\xff\xff\xff\xff",
    ],
)
def test_pg_06_malformed_rows_raise_before_anything_goes_on(plan: MaskPlan, frames: bytes) -> None:
    with pytest.raises(TargetFault) as fault:
        ResultMasker(plan, [field()]).rewriter([]).rewrite(row(b"bob@example.com") + frames)
    assert "bob" not in str(fault.value)


@pytest.mark.parametrize(
    ("type_oid", "cell"), [(JSONB, b"\x02{}"), (INT8, b"123"), (1700, b"\0\1"), (TEXT_ARRAY, b"\0")]
)
def test_pg_06_binary_cells_that_are_not_their_type(type_oid: int, cell: bytes) -> None:
    with pytest.raises(TargetFault):
        rewritten(SEARCH, [field("c", type_oid)], cell, formats=(1,))


@given(st.lists(st.lists(st.one_of(st.none(), st.binary(max_size=30)), min_size=2, max_size=2), max_size=6))
def test_cells_that_hold_nothing_pass_whatever_they_are(table: list[list[bytes | None]]) -> None:
    plan = MaskPlan(True, detectors={"github_token": MaskRule("github_token", MaskKind.NULL)})
    frames = b"".join(row(*cells) for cells in table)
    assert ResultMasker(plan, [field(), field()]).rewriter([]).rewrite(frames) == frames


def test_a_spared_column_is_not_searched_its_neighbour_is() -> None:
    plan = MaskPlan(True, detectors=DETECTORS, spared=(True, False), spared_origins=frozenset({(7, 1)}))
    fields = [field("a", TEXT, (7, 1)), field("b", TEXT, (7, 2))]
    assert rewritten(plan, fields, b"a@example.com", b"b@example.com") == row(b"a@example.com", b"[redacted]")
    opaque = [field("a", ENUM, (7, 1)), field("b", INT4, (7, 2))]
    assert ResultMasker(plan, opaque).described() == tuple(opaque), "a spared column keeps its type"


@pytest.mark.parametrize(
    "damage",
    [
        lambda row: row[:6] + b"\x09" + row[7:],  # more columns than cells
        lambda row: row[:10] + b"\x7f" + row[11:],  # a cell that is longer than its row
        lambda row: row[:4] + bytes((row[4] + 1,)) + row[5:] + b"x",  # bytes behind the last cell
    ],
)
def test_malformed_rows_are_caught_even_where_nothing_is_done_to_them(damage: Callable[[bytes], bytes]) -> None:
    row = data_row((b"a", None))
    insist_on_rows(row * 3)
    with pytest.raises(TargetFault):
        insist_on_rows(row + damage(row))


def test_rows_of_one_result_have_one_number_of_columns() -> None:
    with pytest.raises(TargetFault):
        insist_on_rows(data_row((b"a", None)) + data_row((b"a",)))
