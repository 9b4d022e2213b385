"""The next version of the gateway, as far as its store goes: this one with a migration more.

    python -m tests.servers.next_version db migrate --config taskgate.yaml

Where NEXT_VERSION_HALF_WAY names a file, it is made in the middle of that migration, which then stands still.
"""

from __future__ import annotations

import os
from pathlib import Path

from alembic.config import Config

from taskgate.cli import main
from taskgate.store import migrate

_this = migrate._config


def _next() -> Config:
    config = _this()
    places = [Path(migrate.__file__).parent / "migrations" / "versions", Path(__file__).parent / "next_migrations"]
    config.set_main_option("path_separator", "os")
    config.set_main_option("version_locations", os.pathsep.join(str(place).replace("%", "%%") for place in places))
    return config


if __name__ == "__main__":
    migrate._config = _next
    main()
