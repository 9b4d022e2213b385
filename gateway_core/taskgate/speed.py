"""The loops that run for every byte: compiled where the compiled module is there, else their equals in Python.

`TASKGATE_PURE_PYTHON=1` in the environment forces Python. Both are tested against each other.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from taskgate._speed_py import (
        ARRAY,
        BYTEA,
        CARD,
        EVERYTHING,
        FLOAT8,
        FLOAT_TEXT,
        IBAN,
        INT8,
        JSON,
        JSONB,
        NUMERIC,
        OPAQUE,
        SKIP,
        SSN,
        TEXT,
        Sieve,
        complete_messages,
        count_rows,
        in_strings,
        message_runs,
        replace_cells,
        sift_rows,
        views,
    )

    COMPILED: bool
elif os.environ.get("TASKGATE_PURE_PYTHON") == "1":
    from taskgate._speed_py import (
        ARRAY,
        BYTEA,
        CARD,
        EVERYTHING,
        FLOAT8,
        FLOAT_TEXT,
        IBAN,
        INT8,
        JSON,
        JSONB,
        NUMERIC,
        OPAQUE,
        SKIP,
        SSN,
        TEXT,
        Sieve,
        complete_messages,
        count_rows,
        in_strings,
        message_runs,
        replace_cells,
        sift_rows,
        views,
    )

    COMPILED = False
else:
    try:
        from taskgate._speed import (
            ARRAY,
            BYTEA,
            CARD,
            EVERYTHING,
            FLOAT8,
            FLOAT_TEXT,
            IBAN,
            INT8,
            JSON,
            JSONB,
            NUMERIC,
            OPAQUE,
            SKIP,
            SSN,
            TEXT,
            Sieve,
            complete_messages,
            count_rows,
            in_strings,
            message_runs,
            replace_cells,
            sift_rows,
            views,
        )

        COMPILED = True
    except ImportError:
        from taskgate._speed_py import (
            ARRAY,
            BYTEA,
            CARD,
            EVERYTHING,
            FLOAT8,
            FLOAT_TEXT,
            IBAN,
            INT8,
            JSON,
            JSONB,
            NUMERIC,
            OPAQUE,
            SKIP,
            SSN,
            TEXT,
            Sieve,
            complete_messages,
            count_rows,
            in_strings,
            message_runs,
            replace_cells,
            sift_rows,
            views,
        )

        COMPILED = False

__all__ = [
    "ARRAY",
    "BYTEA",
    "CARD",
    "COMPILED",
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
    "in_strings",
    "message_runs",
    "replace_cells",
    "sift_rows",
    "views",
]
