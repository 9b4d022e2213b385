from __future__ import annotations

from tests.unit.api.conftest import migrated_store, plane
from tests.unit.cli.conftest import running

__all__ = ["migrated_store", "plane", "running"]
