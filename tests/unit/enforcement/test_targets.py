"""How old what is known of a target counts as."""

from __future__ import annotations

import dataclasses
import math

import pytest

from taskgate.enforcement import targets
from taskgate.enforcement.targets import GovernedTarget
from taskgate.secrets import SecretSources
from taskgate.sql.catalog import Catalog
from tests.servers.gate import loopback_target


class Reader:
    """Stands for the connection that reads the catalogue."""

    def __init__(self, *_: object) -> None:
        self.read_before = False

    async def changed(self) -> bool:
        return not self.read_before

    async def read(self) -> Catalog:
        self.read_before = True
        return Catalog(version=1)


async def test_a_catalogue_is_too_old_from_a_commit_of_ddl_until_it_is_looked_at(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(targets, "CatalogReader", Reader)
    monkeypatch.setenv("THE_PASSWORD", "secret")
    described = dataclasses.replace(loopback_target(1), secret="env:THE_PASSWORD")
    target = GovernedTarget(described, SecretSources())
    await target.refresh()
    assert target.age < 5
    target.moved()
    assert target.age == math.inf
    assert target.fresh  # what is in it is still trusted: names are missing at worst
    await target.refresh()
    assert target.age < 5
