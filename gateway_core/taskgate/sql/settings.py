"""Settings a client may change, by what they can do to the gateway's reading of a statement.

Pinned settings decide how the server reads a text; only their pinned value passes. Listed ones change output format,
planning or limits, never what a statement does. Anything else is its own question to policy (`sql.set`, its name); the
built-in rules let `ALLOWED` through and nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping

PINNED: Mapping[str, str] = {"standard_conforming_strings": "on", "client_encoding": "UTF8"}

_PINNED_SPELLINGS: Mapping[str, frozenset[str]] = {
    "standard_conforming_strings": frozenset({"on", "true", "yes", "1", "t", "y"}),
    "client_encoding": frozenset({"utf8", "utf-8", "unicode", "utf_8"}),
}

ALLOWED: frozenset[str] = frozenset({
    # names: watched, read again after every change
    "search_path",
    # how values look
    "bytea_output", "datestyle", "extra_float_digits", "intervalstyle", "timezone", "xmlbinary", "xmloption",
    "lc_monetary", "lc_numeric", "lc_time", "quote_all_identifiers",
    # who says it, and how much is said back
    "application_name", "client_min_messages",
    # limits
    "statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout", "idle_session_timeout",
    "transaction_timeout", "deadlock_timeout", "tcp_keepalives_count", "tcp_keepalives_idle", "tcp_keepalives_interval",
    "tcp_user_timeout", "client_connection_check_interval", "work_mem", "maintenance_work_mem",
    # planning
    "jit", "plan_cache_mode", "geqo", "constraint_exclusion", "cursor_tuple_fraction", "random_page_cost",
    "seq_page_cost", "effective_cache_size", "max_parallel_workers_per_gather", "synchronize_seqscans",
    "enable_bitmapscan", "enable_hashagg", "enable_hashjoin", "enable_indexonlyscan", "enable_indexscan",
    "enable_material", "enable_mergejoin", "enable_nestloop", "enable_partitionwise_aggregate",
    "enable_partitionwise_join", "enable_seqscan", "enable_sort", "enable_tidscan", "join_collapse_limit",
    "from_collapse_limit",
    # transactions (read only / read write stand apart: `sql.transaction`)
    "default_transaction_isolation", "default_transaction_deferrable", "transaction_isolation",
    "transaction_deferrable",
    # a refusal more, never one less (pg_dump)
    "restrict_nonsystem_relation_kind",
    # off makes row security an error instead of a filter: stricter, and pg_dump sets it
    "row_security",
    # what a restored dump sets before it creates things
    "check_function_bodies", "default_table_access_method", "default_tablespace", "default_toast_compression",
})  # fmt: skip

READ_ONLY: frozenset[str] = frozenset({"transaction_read_only", "default_transaction_read_only"})
IDENTITY: frozenset[str] = frozenset({"role", "session_authorization"})  # never built in: policy has to say so

_TRUE = frozenset({"on", "true", "yes", "1", "t", "y", "tru", "tr", "ye"})


def pinned_value_kept(name: str, value: str | None) -> bool:
    """Whether setting the pinned `name` to `value` leaves it as pinned. `value` None: not known, so no."""
    return value is not None and value.strip().lower() in _PINNED_SPELLINGS[name]


def is_true(value: str | None) -> bool:
    """A boolean setting's value as PostgreSQL reads it; unknown counts as false."""
    return value is not None and value.strip().lower() in _TRUE
