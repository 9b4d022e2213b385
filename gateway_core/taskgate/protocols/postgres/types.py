"""PostgreSQL's built-in types (pg_type.dat, the same numbers in every version), by how their cells are searched."""

from __future__ import annotations

from dataclasses import dataclass

from taskgate.speed import ARRAY, BYTEA, FLOAT8, FLOAT_TEXT, INT8, JSON, JSONB, NUMERIC, OPAQUE, SKIP, TEXT

BYTEA_OID = 17
INT8_OID = 20
TEXT_OID = 25
JSON_OID = 114
FLOAT8_OID = 701
NUMERIC_OID = 1700
JSONB_OID = 3802

# name, text, unknown, xml, bpchar, varchar, refcursor, cstring: binary and text form are the same bytes.
TEXT_LIKE = frozenset({19, 25, 142, 705, 1042, 1043, 1790, 2275})
_TEXT_ARRAYS = frozenset({143, 1003, 1009, 1014, 1015, 1263, 2201})
_NUMBERS = frozenset({INT8_OID, NUMERIC_OID})
_ARRAY_ELEMENTS = {199: JSON_OID, 1001: BYTEA_OID, 1016: INT8_OID, 1022: FLOAT8_OID, 1231: NUMERIC_OID, 3807: JSONB_OID}
_BINARY_ELEMENT = {
    JSON_OID: JSON, BYTEA_OID: TEXT, INT8_OID: INT8, FLOAT8_OID: FLOAT8, NUMERIC_OID: NUMERIC, JSONB_OID: JSONB,
}  # fmt: skip

# inet, cidr, macaddr, macaddr8: searched only where a detector looks for network addresses.
ADDRESSES = frozenset({650, 651, 774, 829, 869, 1040, 1041})

# Nothing a detector looks for fits in: bool, "char", int2, int4, float4, object identifiers, dates and times, uuid,
# bits, money, geometry, void, log positions, snapshots, ranges of these, and arrays of all of them.
NEVER_SEARCHED = frozenset(
    {16, 18, 21, 22, 23, 24, 26, 27, 28, 29, 30, 271, 600, 601, 602, 603, 604, 628, 700, 718, 790, 1082, 1083, 1114,
     1184, 1186, 1266, 1560, 1562, 2202, 2203, 2204, 2205, 2206, 2278, 2950, 2970, 3220, 3734, 3769, 3904, 3908, 3910,
     3912, 4089, 4096, 4191, 4451, 4533, 4534, 4535, 5038, 5069,
     629, 719, 791, 1000, 1002, 1005, 1006, 1007, 1008, 1010, 1011, 1012, 1013, 1017, 1018, 1019, 1020, 1021, 1027,
     1028, 1115, 1182, 1183, 1185, 1187, 1270, 1561, 1563, 2207, 2208, 2209, 2210, 2211, 2949, 2951, 3221, 3735, 3770,
     3905, 3909, 3911, 3913, 4090, 4097, 4192, 5039}
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Reading:
    """How a cell is searched: `kind` of `taskgate.speed`. `carries`: the placeholder may stand in it, else a finding
    makes it NULL. `elements`: a binary array, replaced element by element."""

    kind: int
    carries: bool = False
    elements: bool = False


NOT_SEARCHED = Reading(SKIP)
OPAQUE_TEXT = Reading(OPAQUE, carries=True)
_TEXTUAL = Reading(TEXT, carries=True)
_IN_DOCUMENT = Reading(JSON, carries=True)


def reading(type_oid: int, binary: bool) -> Reading | None:
    """How cells of a type are searched in a format; None where they cannot be: the column is then fetched and described
    as text (types of extensions, enums, composites, ranges, tsvector, …)."""
    if type_oid in NEVER_SEARCHED:
        return NOT_SEARCHED
    if type_oid in TEXT_LIKE:
        return _TEXTUAL
    return _BINARY.get(type_oid) if binary else _TEXT.get(type_oid)


_TEXT = {
    BYTEA_OID: Reading(BYTEA),
    FLOAT8_OID: Reading(FLOAT_TEXT),
    JSON_OID: _IN_DOCUMENT,
    JSONB_OID: _IN_DOCUMENT,
    **dict.fromkeys(_NUMBERS, Reading(TEXT)),
    **dict.fromkeys(_TEXT_ARRAYS, _TEXTUAL),
    **dict.fromkeys(_ARRAY_ELEMENTS, Reading(OPAQUE)),
}
_BINARY = {
    BYTEA_OID: Reading(TEXT),
    INT8_OID: Reading(INT8),
    FLOAT8_OID: Reading(FLOAT8),
    NUMERIC_OID: Reading(NUMERIC),
    JSON_OID: _IN_DOCUMENT,
    JSONB_OID: Reading(JSONB, carries=True),
    **dict.fromkeys(_TEXT_ARRAYS, Reading(ARRAY + TEXT, carries=True, elements=True)),
    **{array: Reading(ARRAY + _BINARY_ELEMENT[element]) for array, element in _ARRAY_ELEMENTS.items()},
}
