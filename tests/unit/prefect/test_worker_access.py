"""The worker's key is its own: taken out of the environment, in no repr, and its memory closed to others."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from taskgate_prefect.worker_access import WorkerAccess, WorkerNotConfigured, without_the_workers, worker_access

KEY = "tgk_1.the-workers-own-key"


@pytest.fixture(autouse=True)
def environment(fresh_worker: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TASKGATE_URL", "https://gateway")
    monkeypatch.setenv("TASKGATE_SOURCE", "demo-prefect")


def test_the_key_leaves_the_environment_and_stays_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TASKGATE_WORKER_KEY", KEY)
    access = worker_access()
    assert (access.url, access.source, access.key()) == ("https://gateway", "demo-prefect", KEY)
    assert KEY not in os.environ.values()
    assert worker_access() is access


def test_a_key_file_is_read_each_time_and_its_place_leaves_the_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "key"
    file.write_text(f"{KEY}\n")
    monkeypatch.setenv("TASKGATE_WORKER_KEY_FILE", str(file))
    assert worker_access().key() == KEY
    assert str(file) not in os.environ.values()
    file.write_text("tgk_2.another")
    assert worker_access().key() == "tgk_2.another"
    file.write_text("\n")
    with pytest.raises(WorkerNotConfigured, match="is empty"):
        worker_access().key()
    file.unlink()
    with pytest.raises(WorkerNotConfigured, match="cannot read"):
        worker_access().key()


@pytest.mark.parametrize("missing", ["TASKGATE_URL", "TASKGATE_SOURCE", "TASKGATE_WORKER_KEY"])
def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    monkeypatch.setenv("TASKGATE_WORKER_KEY", KEY)
    monkeypatch.delenv(missing)
    with pytest.raises(WorkerNotConfigured, match=missing) as caught:
        worker_access()
    assert KEY not in str(caught.value)


def test_the_key_is_in_no_repr_and_no_pickle() -> None:
    access = WorkerAccess("https://gateway", "demo-prefect", _key=KEY)
    assert KEY not in repr(access)
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(access)


def test_what_is_the_workers_to_give_is_taken_from_no_deployment() -> None:
    given = {"TASKGATE_RUN_SECRET": "forged", "TASKGATE_RUN_TOKEN": "stolen", "TASKGATE_WORKER_KEY": KEY, "MORE": "1"}
    given |= {"TASKGATE_URL": "https://elsewhere", "TASKGATE_CA_FILE": "/ca.pem", "TASKGATE_SOURCE": "another"}
    found = without_the_workers({**given, "TASKGATE_WORKER_KEY_FILE": "/key", "EMPTY": None})
    assert found == {"MORE": "1", "EMPTY": None}


def test_a_worker_hides_its_memory_and_lets_its_runs_dump_theirs() -> None:
    program = (
        "import ctypes, resource; from taskgate_prefect.worker_access import worker_access; worker_access();"
        "print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0), resource.getrlimit(resource.RLIMIT_CORE)[1])"
    )
    before = subprocess.run(
        [sys.executable, "-c", "import resource; print(resource.getrlimit(resource.RLIMIT_CORE)[1])"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "TASKGATE_WORKER_KEY": KEY}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.split() == ["0", before.stdout.strip()]
