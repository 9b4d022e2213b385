"""The equal of the compiled module in Python: same functions, same results, tested against each other."""

from taskgate.speed.plain.exchanges import exchange_key, exchange_reply, skeleton
from taskgate.speed.plain.messages import complete_messages, message_runs
from taskgate.speed.plain.records import record_frame, record_header, seal_record
from taskgate.speed.plain.rows import count_rows, replace_cells, sift_rows
from taskgate.speed.plain.sieve import CARD, EVERYTHING, IBAN, SSN, Sieve, in_strings
from taskgate.speed.plain.views import (
    ARRAY,
    BYTEA,
    FLOAT8,
    FLOAT_TEXT,
    INT8,
    JSON,
    JSONB,
    NUMERIC,
    OPAQUE,
    SKIP,
    TEXT,
    views,
)

__all__ = [
    "ARRAY",
    "BYTEA",
    "CARD",
    "EVERYTHING",
    "FLOAT8",
    "FLOAT_TEXT",
    "IBAN",
    "INT8",
    "JSON",
    "JSONB",
    "NUMERIC",
    "OPAQUE",
    "SKIP",
    "SSN",
    "TEXT",
    "Sieve",
    "complete_messages",
    "count_rows",
    "exchange_key",
    "exchange_reply",
    "in_strings",
    "message_runs",
    "record_frame",
    "record_header",
    "replace_cells",
    "seal_record",
    "sift_rows",
    "skeleton",
    "views",
]
