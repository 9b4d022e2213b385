from __future__ import annotations

from tests.unit.api.conftest import migrated_store
from tests.unit.cli.conftest import running

__all__ = ["migrated_store", "running"]
