"""Whether Airflow's tokens prove anything: how they are signed, and whether a task could sign one itself."""

from __future__ import annotations

import os
import pwd
import stat
from collections.abc import Iterator
from pathlib import Path

from taskgate_airflow.doctor.finding import Finding, Level
from taskgate_airflow.doctor.form import Form, Setup
from taskgate_airflow.options import option

_LOCAL = ("LocalExecutor", "SequentialExecutor")


def signing(setup: Setup) -> Iterator[Finding]:
    if setup.form is not Form.SERVER:
        return
    key = option("jwt_private_key_path", "api_auth")
    if key is None:
        if option("trusted_jwks_url", "api_auth"):  # asked first, whatever else is set
            yield Finding("signing", Level.OK, "this machine only verifies tokens")
            return
        yield Finding(
            "signing", Level.WARN,
            "symmetric ([api_auth] jwt_secret): who can verify can sign, so tasks are asserted, not verified",
            "set [api_auth] jwt_private_key_path on scheduler and API server, and jwt_secret nowhere",
        )  # fmt: skip
        return
    # A jwt_secret says nothing: Airflow makes one up where none is set, and uses it only without a private key.
    yield _private_key(Path(key))


def _private_key(path: Path) -> Finding:
    """Whoever can read it can be any task, verified."""
    local = [name for name in (option("executor", "core") or "").split(",") if name.strip().endswith(_LOCAL)]
    try:
        found = path.stat()
    except OSError:
        return Finding("signing", Level.OK, f"asymmetric; {path} is not on this machine, or not to be seen")
    if stat.S_IMODE(found.st_mode) & 0o044 and not local:
        return Finding("signing", Level.WARN, f"asymmetric, but others here can read {path}", f"chmod 600 {path}")
    if local:
        user = option("default_impersonation", "core")
        if _readable(path, found, user):
            who = f"tasks run as {user}" if user else "tasks run as this user"
            return Finding(
                "signing", Level.WARN, f"{local[0].strip()}: {who}, who can read {path} and sign as any task",
                "run tasks elsewhere (Celery, Kubernetes), or as another user ([core] default_impersonation); before "
                "that a task can also answer Airflow's page as anybody: let no approval rule have the channel airflow",
            )  # fmt: skip
    return Finding("signing", Level.OK, f"asymmetric; tasks here cannot read {path}")


def _readable(path: Path, found: os.stat_result, user: str | None) -> bool:
    """Whether a task's user may read it, by the file's own mode; an unknown user counts as one who may."""
    if user is None:
        return os.access(path, os.R_OK)
    try:
        account = pwd.getpwnam(user)
        groups = os.getgrouplist(user, account.pw_gid)
    except (KeyError, OSError):
        return True
    if account.pw_uid in (0, found.st_uid):
        return account.pw_uid == 0 or bool(found.st_mode & stat.S_IRUSR)
    if found.st_gid in groups:
        return bool(found.st_mode & stat.S_IRGRP)
    return bool(found.st_mode & stat.S_IROTH)
