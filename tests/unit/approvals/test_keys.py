from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from taskgate.approvals.keys import KEY_BYTES, ApprovalKeys
from taskgate.errors import GatewayFault


def test_created_once_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "approval.key"
    keys = ApprovalKeys.at(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(path.read_bytes()) == KEY_BYTES
    assert ApprovalKeys.at(path) == keys
    assert keys.digest != keys.sealing
    assert list(tmp_path.iterdir()) == [path]


def test_many_creating_at_once_get_the_same_key(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as threads:
        made = list(threads.map(ApprovalKeys.at, [tmp_path / "approval.key"] * 32))
    assert all(keys == made[0] for keys in made)


def test_key_open_to_others_short_long_or_missing_folder_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "approval.key"
    ApprovalKeys.at(path)
    path.chmod(0o640)
    with pytest.raises(GatewayFault, match="0640"):
        ApprovalKeys.at(path)
    path.chmod(0o600)
    for size in (0, 31, 33):
        path.write_bytes(b"x" * size)
        with pytest.raises(GatewayFault, match="32 bytes"):
            ApprovalKeys.at(path)
    with pytest.raises(GatewayFault):
        ApprovalKeys.at(tmp_path / "none" / "approval.key")


def test_vector_and_repr_without_key() -> None:
    keys = ApprovalKeys.derive(bytes(range(32)))
    assert keys.digest.hex() == "35ebc944966b7425b2561873d3d0252aa51193aef38663d6bc83859e64f1c873"
    assert keys.sealing.hex() == "eeb2dff45b22b499568387c77badec5c695e332dd3573aaa914c110626dbee38"
    assert repr(keys) == "ApprovalKeys()"
