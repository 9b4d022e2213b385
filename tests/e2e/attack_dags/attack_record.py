"""What the attack DAGs found out, for the test: lines of JSON in a file that no part of Airflow carries or masks.

`ATTACK_OUT` names the folder. What a task tries belongs to the file named as its DAG run."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any


def note(name: str, **found: Any) -> None:
    line = json.dumps({"at": time.time(), "pid": os.getpid(), **found}, default=str)
    with Path(os.environ["ATTACK_OUT"], f"{name}.jsonl").open("a") as file:
        file.write(f"{line}\n")


def attempt(name: str, what: str, do: Any) -> Any:
    """Do it and note how it went: `ok` with what came back, or the error."""
    try:
        found = do()
    except BaseException as error:  # noqa: BLE001 - whatever it is, the test looks at it
        note(name, what=what, ok=False, error=f"{type(error).__name__}: {error}")
        return None
    note(name, what=what, ok=True, found=found)
    return found
