import pytest

from taskgate.store.database import Database
from tests.integration.identity.gateway_of_airflow import Setting
from tests.integration.identity.gateway_of_prefect import Gateway
from tests.integration.store.databases import database, migrated_file, migrated_template, store_url

__all__ = ["database", "migrated_file", "migrated_template", "store_url"]


@pytest.fixture
def setting(database: Database) -> Setting:
    return Setting(database, check_interval=1e6)


@pytest.fixture
def gateway(database: Database) -> Gateway:
    return Gateway(database, check_interval=1e6)
