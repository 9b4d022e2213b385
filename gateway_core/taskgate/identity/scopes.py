"""What an API key may do. The list is closed; a scope that is not on it cannot be given."""

from __future__ import annotations

from enum import StrEnum


class Scope(StrEnum):
    CREDENTIALS_ISSUE = "credentials:issue"
    CREDENTIALS_EXCHANGE = "credentials:exchange"  # a task's own token for a credential; asserts nothing
    CREDENTIALS_DELEGATE = "credentials:delegate"  # for deferred tasks, what their worker already held
    RUNS_REGISTER = "runs:register"  # a worker makes the flow runs known that it starts
    CREDENTIALS_REVOKE = "credentials:revoke"
    CREDENTIALS_READ = "credentials:read"
    APPROVALS_READ = "approvals:read"
    APPROVALS_WATCH = "approvals:watch"  # ids and states, nothing of what is asked
    APPROVALS_DECIDE = "approvals:decide"  # people only: no shared key can decide
    SESSIONS_READ = "sessions:read"
    SESSIONS_KILL = "sessions:kill"
    RECORDS_READ = "records:read"
    TARGETS_READ = "targets:read"
    POLICY_READ = "policy:read"
    POLICY_EXPLAIN = "policy:explain"
    ADMIN = "admin"  # everything but deciding, which is always given by name


PEOPLE_ONLY = frozenset({Scope.APPROVALS_DECIDE})


def permits(held: frozenset[Scope], wanted: Scope) -> bool:
    """Whether a key with `held` may do what needs `wanted`."""
    return wanted in held or (Scope.ADMIN in held and wanted not in PEOPLE_ONLY)
