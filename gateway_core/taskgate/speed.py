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
        FLOAT8,
        FLOAT_TEXT,
        INT8,
        JSON,
        JSONB,
        NUMERIC,
        OPAQUE,
        SKIP,
        TEXT,
        cells_at,
        complete_messages,
        count_rows,
        exchange_key,
        exchange_reply,
        in_strings,
        join_cells,
        mask_rows,
        message_runs,
        record_frame,
        record_header,
        replace_cells,
        seal_record,
        skeleton,
        views,
    )

    COMPILED: bool
elif os.environ.get("TASKGATE_PURE_PYTHON") == "1":
    from taskgate._speed_py import (
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
        cells_at,
        complete_messages,
        count_rows,
        exchange_key,
        exchange_reply,
        in_strings,
        join_cells,
        mask_rows,
        message_runs,
        record_frame,
        record_header,
        replace_cells,
        seal_record,
        skeleton,
        views,
    )

    COMPILED = False
else:
    try:
        from taskgate._speed import (
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
            cells_at,
            complete_messages,
            count_rows,
            exchange_key,
            exchange_reply,
            in_strings,
            join_cells,
            mask_rows,
            message_runs,
            record_frame,
            record_header,
            replace_cells,
            seal_record,
            skeleton,
            views,
        )

        COMPILED = True
    except ImportError:
        from taskgate._speed_py import (
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
            cells_at,
            complete_messages,
            count_rows,
            exchange_key,
            exchange_reply,
            in_strings,
            join_cells,
            mask_rows,
            message_runs,
            record_frame,
            record_header,
            replace_cells,
            seal_record,
            skeleton,
            views,
        )

        COMPILED = False

__all__ = [
    "ARRAY",
    "BYTEA",
    "COMPILED",
    "FLOAT8",
    "FLOAT_TEXT",
    "INT8",
    "JSON",
    "JSONB",
    "NUMERIC",
    "OPAQUE",
    "SKIP",
    "TEXT",
    "cells_at",
    "complete_messages",
    "count_rows",
    "exchange_key",
    "exchange_reply",
    "in_strings",
    "join_cells",
    "mask_rows",
    "message_runs",
    "record_frame",
    "record_header",
    "replace_cells",
    "seal_record",
    "skeleton",
    "views",
]
