"""What `taskgate doctor` says of a Prefect, asked about a real one."""

from __future__ import annotations

from typing import Any

import pytest

from taskgate.cli.checkup import Finding, Level, prefects
from taskgate.settings import Settings
from taskgate.settings_prefect import PrefectSettings


async def found(url: str, **more: Any) -> Finding:
    one = PrefectSettings.model_validate({"source": "prod", "url": url, **more})
    (finding,) = await prefects(Settings.model_construct(prefect=[one]))
    assert finding.check == "prefect prod"
    return finding


async def test_one_that_answers(prefect_server: str) -> None:
    assert (await found(prefect_server)).level is Level.OK


async def test_an_address_beside_its_api(prefect_server: str) -> None:
    finding = await found(prefect_server.removesuffix("/api") + "/apis")
    assert finding.level is Level.FAIL
    assert "ends in /api" in finding.found
    assert finding.do


@pytest.mark.parametrize(
    ("url", "more", "said"),
    [
        ("http://127.0.0.1:1/api", {}, "ConnectError"),
        ("https://prefect.invalid/api", {}, "ConnectError"),
        ("http://127.0.0.1:1/api", {"auth_string": "file:/nowhere/auth"}, "/nowhere/auth"),
        ("https://127.0.0.1:1/api", {"ca_file": "/nowhere/ca.pem"}, "/nowhere/ca.pem"),
    ],
)
async def test_what_is_wrong_is_named(url: str, more: dict[str, str], said: str) -> None:
    finding = await found(url, **more)
    assert finding.level is Level.FAIL
    assert said in finding.found
    assert finding.do
