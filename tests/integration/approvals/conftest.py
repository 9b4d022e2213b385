import pytest

from taskgate.store.database import Database
from tests.integration.approvals.setting import Gateway
from tests.integration.store.databases import database, migrated_file, migrated_template, store_url

__all__ = ["database", "gateway", "migrated_file", "migrated_template", "store_url"]


@pytest.fixture
def gateway(database: Database) -> Gateway:
    return Gateway(database)
