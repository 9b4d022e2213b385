"""Evidence for tests: which sessions it is of, and what to do to it and ask of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import orjson

from taskgate.recording.findings import ExitCode, Verification
from taskgate.recording.keys import PublicKey, SigningKey
from taskgate.recording.verify import verify

SESSIONS = ["ses_a", "ses_b"]
"""Those that are exported, of three."""


def bad(path: Path, key: PublicKey) -> Verification:
    result = verify(path, public_keys=[key])
    assert not result.ok
    assert result.exit_code == ExitCode.BAD
    return result


def first(path: Path, key: PublicKey) -> tuple[str | None, int | None, str]:
    problem = bad(path, key).first
    assert problem is not None
    return problem.session, problem.seq, problem.message


def edit(path: Path, change: Callable[[list[bytes]], list[bytes]]) -> None:
    path.write_bytes(b"".join(change(path.read_bytes().splitlines(keepends=True))))


def forged(folder: Path, data_dir: Path, change: Mapping[str, object]) -> None:
    """By who has the gateway's key, or passes off a gateway of their own."""
    raw = orjson.dumps(orjson.loads((folder / "manifest.json").read_bytes()) | change)
    key = SigningKey.at(data_dir / "keys" / "checkpoint.key")
    (folder / "manifest.json").write_bytes(raw)
    (folder / "manifest.sig").write_bytes(orjson.dumps({"key": key.public.id, "signature": key.sign(raw)}))
