"""What proves a flow run to the gateway where Taskgate's worker started its process."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from pydantic import SecretStr


@dataclass(frozen=True, slots=True)
class RunAccess:
    """How this process's flow run asks the gateway. `ca_file` None: the system's authorities."""

    url: str
    ca_file: str | None
    source: str
    token: SecretStr = field(repr=False)


def run_access() -> RunAccess | None:
    """None where no worker of Taskgate's started this run."""
    token, url = os.environ.get("TASKGATE_RUN_TOKEN"), os.environ.get("TASKGATE_URL")
    if not token or not url:
        return None
    source = os.environ.get("TASKGATE_SOURCE", "")
    return RunAccess(url, os.environ.get("TASKGATE_CA_FILE") or None, source, SecretStr(token))
