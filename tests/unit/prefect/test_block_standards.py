"""Prefect's own standards for blocks, and that its server knows ours by our entry point."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest
from prefect.blocks.core import Block
from prefect.client.orchestration import get_client
from prefect.testing.standard_test_suites import BlockStandardTestSuite, blocks
from prefect_sqlalchemy import AsyncSqlAlchemyConnector, SqlAlchemyConnector

from taskgate_prefect import GovernedAsyncSqlAlchemyConnector, GovernedSqlAlchemyConnector, TaskgateGateway
from taskgate_prefect.presentation import LOGO_URL

_OURS: list[type[Block]] = [TaskgateGateway, GovernedSqlAlchemyConnector, GovernedAsyncSqlAlchemyConnector]
_LOGO = Path(__file__).parents[3] / "docs" / "assets" / "logo.png"


@pytest.mark.parametrize("block", _OURS)
class TestOurBlocks(BlockStandardTestSuite):
    @pytest.fixture
    def block(self, block: type[Block]) -> type[Block]:
        return block

    @pytest.fixture(autouse=True)
    def documentation_on_this_machine(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The picture is fetched from the documentation, whose source is here."""

        def opened(url: str) -> Any:
            assert url == str(LOGO_URL)
            return _LOGO.open("rb")

        monkeypatch.setattr(blocks, "urlopen", opened)


@pytest.mark.parametrize("block", _OURS)
def test_fields_have_titles(block: type[Block]) -> None:
    for name, field in block.model_fields.items():
        assert field.title, name


def test_they_are_the_stock_ones_without_where_and_as_whom() -> None:
    assert issubclass(GovernedSqlAlchemyConnector, SqlAlchemyConnector)
    assert issubclass(GovernedAsyncSqlAlchemyConnector, AsyncSqlAlchemyConnector)
    for stock, ours in (
        (SqlAlchemyConnector, GovernedSqlAlchemyConnector),
        (AsyncSqlAlchemyConnector, GovernedAsyncSqlAlchemyConnector),
    ):
        assert set(stock.model_fields) - set(ours.model_fields) == {"connection_info"}
        public = {name for name in vars(stock) if not name.startswith("_") and callable(getattr(stock, name))}
        inherited = public - set(vars(ours)) - {"model_config"}
        assert not inherited, "each of the stock methods is ours, so that none goes around the gateway"
        properties = set(ours.model_json_schema()["properties"])
        assert not properties & {"connection_info", "password", "username", "host"}


def test_a_nested_gateway_is_one() -> None:
    connector = GovernedSqlAlchemyConnector(target="orders-db")
    assert isinstance(connector.gateway, TaskgateGateway)


def test_prefect_finds_them_by_the_entry_point() -> None:
    found = next(one for one in entry_points(group="prefect.collections") if one.name == "taskgate_prefect")
    module = found.load()
    assert all(getattr(module, block.__name__) is block for block in _OURS)


def test_they_register_themselves(prefect_server: str) -> None:
    for block in _OURS:
        block.register_type_and_schema(_sync=True)  # type: ignore[call-arg]
        with get_client(sync_client=True) as client:
            known = client.read_block_type_by_slug(block.get_block_type_slug())
        assert str(known.logo_url) == str(LOGO_URL)
        assert known.code_example
        assert known.description


def test_importing_the_package_imports_neither_sqlalchemy_nor_prefect() -> None:
    """What a worker, or a flow's file, needs of it is imported when it is asked for."""
    code = "import sys, taskgate_prefect; print({'prefect', 'sqlalchemy', 'pydantic'} & set(sys.modules))"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "set()"


def test_every_public_name_is_there_and_nothing_else() -> None:
    import taskgate_prefect

    for name in taskgate_prefect.__all__:
        assert getattr(taskgate_prefect, name) is not None
        assert name in dir(taskgate_prefect)
    with pytest.raises(AttributeError, match="no attribute 'missing'"):
        _ = taskgate_prefect.missing
