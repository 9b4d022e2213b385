"""What the tests' flows found out, for the test: lines of JSON in a file that no part of Prefect carries or masks.

`RUNS_OUT` names the folder; what a run notes belongs to the file named as the flow run (`PREFECT__FLOW_RUN_ID`, so a
subflow's is its parent's). `attack_out.py` reads them."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


def note(what: str, *, ok: bool = True, **found: Any) -> None:
    line = json.dumps({"at": time.time(), "pid": os.getpid(), "what": what, "ok": ok, **found}, default=str)
    with Path(os.environ["RUNS_OUT"], f"{os.environ['PREFECT__FLOW_RUN_ID']}.jsonl").open("a") as file:
        file.write(f"{line}\n")


def tried(what: str, do: Callable[[], Any]) -> Any:
    """Do it and note how it went: `ok` with what came back, or the error."""
    try:
        found = do()
    except BaseException as error:  # noqa: BLE001 - whatever it is, the test looks at it
        note(what, ok=False, error=f"{type(error).__name__}: {error}", code=getattr(error, "code", None))
        return None
    note(what, found=found)
    return found
