from __future__ import annotations

import os
from pathlib import Path

import pytest

from taskgate_airflow.doctor import signing as module
from taskgate_airflow.doctor.finding import Level
from taskgate_airflow.doctor.signing import signing
from tests.unit.airflow.doctor.conftest import Configure


@pytest.fixture
def key(tmp_path: Path) -> Path:
    file = tmp_path / "jwt.pem"
    file.touch(mode=0o600)
    return file


def test_the_worker_form_does_not_rest_on_it(configure: Configure) -> None:
    assert list(signing(configure("worker"))) == []


def test_symmetric_is_asserted(configure: Configure) -> None:
    (finding,) = signing(configure("server", api_auth__jwt_secret="s3cret-of-airflow"))
    assert finding.level is Level.WARN
    assert "asserted, not verified" in finding.found
    assert "s3cret" not in str(finding)


def test_asymmetric_where_tasks_run_elsewhere(configure: Configure, key: Path) -> None:
    options = {
        "api_auth__jwt_private_key_path": str(key),
        "api_auth__jwt_secret": "",
        "core__executor": "CeleryExecutor",
    }
    setup = configure("server", **options)
    assert [one.level for one in signing(setup)] == [Level.OK]
    key.chmod(0o644)
    assert [one.level for one in signing(setup)] == [Level.WARN]
    key.unlink()
    (finding,) = signing(setup)
    assert "not on this machine" in finding.found


def test_tasks_of_a_local_executor_can_read_the_key(configure: Configure, key: Path) -> None:
    options = {
        "api_auth__jwt_private_key_path": str(key),
        "api_auth__jwt_secret": "",
        "core__executor": "LocalExecutor",
    }
    (finding,) = signing(configure("server", **options))
    assert finding.level is Level.WARN
    assert "tasks run as this user" in finding.found
    assert "channel airflow" in str(finding.do)
    (finding,) = signing(configure("server", **options, core__default_impersonation="nobody"))
    assert finding.level is Level.OK
    key.chmod(0o604)
    (finding,) = signing(configure("server", **options, core__default_impersonation="nobody"))
    assert "tasks run as nobody" in finding.found
    (finding,) = signing(configure("server", **options, core__default_impersonation="no-such-user"))
    assert finding.level is Level.WARN


def test_readable_by_owner_group_and_root(key: Path) -> None:
    import pwd

    nobody = pwd.getpwnam("nobody")
    found = list(os.stat_result((0o100640, 0, 0, 1, 1234, nobody.pw_gid, 0, 0, 0, 0)))
    assert module._readable(key, os.stat_result(found), "nobody")  # its group may
    found[5] = 4321
    assert not module._readable(key, os.stat_result(found), "nobody")
    found[4] = nobody.pw_uid
    assert module._readable(key, os.stat_result(found), "nobody")
    assert module._readable(key, os.stat_result(found), "root")


def test_a_secret_that_airflow_made_up_besides_is_nobodys_fault(configure: Configure, key: Path) -> None:
    options = {
        "api_auth__jwt_private_key_path": str(key),
        "api_auth__jwt_secret": "x",
        "core__executor": "CeleryExecutor",
    }
    assert [one.level for one in signing(configure("server", **options))] == [Level.OK]


def test_who_only_verifies_signs_for_nobody(configure: Configure) -> None:
    (finding,) = signing(
        configure("server", api_auth__trusted_jwks_url="https://airflow/jwks", api_auth__jwt_secret="x")
    )
    assert finding.level is Level.OK
