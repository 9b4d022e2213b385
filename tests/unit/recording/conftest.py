"""A data folder with three sessions, and a bundle of two of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from taskgate.recording.export import export
from taskgate.recording.keys import PublicKey
from taskgate.recording.recorder import Recorder
from tests.unit.recording.evidence import SESSIONS
from tests.unit.recording.samples import session


@pytest.fixture
async def data_dir(tmp_path: Path) -> Path:
    recorder = Recorder(tmp_path / "data")
    recorder.policy_text("policy-1", {"policy.yaml": "version: 1\n"})
    for name in [*SESSIONS, "ses_c"]:
        session(recorder, name)
        await recorder.settle()
    await recorder.stop()
    return recorder.data_dir


@pytest.fixture
def key(data_dir: Path) -> PublicKey:
    return PublicKey.parse((data_dir / "keys" / "checkpoint.pub").read_bytes())


@pytest.fixture
def folder(data_dir: Path, tmp_path: Path) -> Path:
    export(data_dir, tmp_path / "bundle", SESSIONS)
    return tmp_path / "bundle"
