"""What a worker installs: the client imports httpx and pydantic, and nothing of the gateway."""

from __future__ import annotations

import subprocess
import sys

PROBE = """
import sys

class Base:
    # httpx, pydantic and what they need themselves; everything else of the gateway's is as if not installed.
    REFUSED = set(
        "aiosqlite alembic asyncpg cel click cryptography fastapi orjson postgast prometheus_client pydantic_settings "
        "re2 rich scramp sqlalchemy starlette structlog typer uuid_utils uvicorn uvloop yaml zstandard airflow".split()
    )

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in self.REFUSED:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Base())
import taskgate.client
taskgate.client.Client("http://127.0.0.1:1", "key").close()
print(sorted(name for name in sys.modules if name.startswith("taskgate")))
"""


def test_the_client_works_with_the_base_install_alone() -> None:
    done = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    loaded = set(eval(done.stdout))
    assert {name for name in loaded if not name.startswith("taskgate.client")} == {
        "taskgate",
        "taskgate.domain",
        "taskgate.errors",
    }


def test_without_typer_the_command_line_says_what_to_install() -> None:
    probe = "import sys; sys.modules['typer'] = None; from taskgate.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "pip install 'taskgate[gateway]'" in done.stderr
    assert "Traceback" not in done.stderr
