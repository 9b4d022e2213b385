from __future__ import annotations

import pickle
from typing import Any

import pytest
from prefect.settings import PREFECT_API_URL

from taskgate_prefect import TaskgateGateway, gateway
from taskgate_prefect.faults import GatewayNotConfigured
from taskgate_prefect.run_identity import RunAccess

_KEY = "tgk_1.of-the-service"
_RUN = RunAccess("https://of-the-run.example", None, "prod-prefect", "tgr_1.of-the-run")


@pytest.fixture(autouse=True)
def by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """No worker has started this process."""
    monkeypatch.setattr(gateway, "run_access", lambda: None)


def block(**fields: Any) -> TaskgateGateway:
    return TaskgateGateway(
        **{"url": "https://taskgate.example", "source": "prod-prefect", "api_key": _KEY, "ca_file": "/ca.pem", **fields}
    )


def test_the_service_key_lets_runs_in() -> None:
    access = block().access()
    assert (access.url, access.source, access.ca_file) == ("https://taskgate.example", "prod-prefect", "/ca.pem")
    assert access.key.get_secret_value() == _KEY
    assert not access.run_token


@pytest.mark.parametrize("missing", ["url", "source", "api_key"])
def test_what_is_missing_is_named(missing: str) -> None:
    with pytest.raises(GatewayNotConfigured, match=f"says no {missing}, and no worker"):
        block(**{missing: None}).access()


def test_a_run_of_our_worker_never_uses_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateway, "run_access", lambda: _RUN)
    for one in (TaskgateGateway(), block()):
        access = one.access()
        assert access.run_token
        assert access.key.get_secret_value() == _RUN.token
        assert access.url == _RUN.url, "a token goes nowhere but to the gateway that gave it"


def test_a_run_of_our_worker_is_known_at_one_gateway_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateway, "run_access", lambda: _RUN)
    with pytest.raises(GatewayNotConfigured, match="started by Taskgate's worker for 'prod-prefect'"):
        block(source="other-prefect").access()


async def test_asynchronous_code_asks_the_same() -> None:
    assert await block().aaccess() == block().access()


def test_clients_are_made_for_it() -> None:
    with block(ca_file=None).get_client() as client:
        assert client.url == "https://taskgate.example"


def test_the_key_is_nowhere_to_be_read() -> None:
    one = block()
    shown = [repr(one), str(one), one.model_dump_json(), repr(one.access()), str(pickle.dumps(one))]
    assert _KEY not in "".join(shown)
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(one.access())


def test_out_of_a_pickle_an_unsaved_block_has_no_key() -> None:
    again = pickle.loads(pickle.dumps(block()))
    with pytest.raises(GatewayNotConfigured, match="api_key"):
        again.access()


def test_out_of_a_pickle_a_saved_block_loads_its_key(prefect_server: str) -> None:
    assert PREFECT_API_URL.value() == prefect_server
    block().save("pickled", overwrite=True)
    again = pickle.loads(pickle.dumps(TaskgateGateway.load("pickled", _sync=True)))  # type: ignore[call-arg]
    assert again.api_key is None
    assert again.access().key.get_secret_value() == _KEY
