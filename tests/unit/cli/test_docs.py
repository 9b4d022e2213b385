"""docs/cli.md lists exactly the commands and exit codes there are."""

from __future__ import annotations

import re
from pathlib import Path

from typer.core import TyperGroup
from typer.main import get_command

from taskgate.cli.exit_codes import ExitCode
from taskgate.cli.root import ENTRIES, _app

PAGE = Path(__file__).parents[3] / "docs" / "cli.md"


def commands() -> set[str]:
    found = set()
    for name, entry in ENTRIES.items():
        command = get_command(_app(entry))
        if isinstance(command, TyperGroup):
            found |= {f"{name} {inner}" for inner in command.commands}
        if not isinstance(command, TyperGroup) or command.invoke_without_command:
            found.add(name)
    return found


def test_every_command_is_documented() -> None:
    documented = re.findall(r"^\| `taskgate ([a-z -]+)` \|", PAGE.read_text(), re.MULTILINE)
    assert set(documented) == commands()
    assert len(documented) == len(set(documented))


def test_every_exit_code_is_documented() -> None:
    codes = re.findall(r"^\| (\d+) \| ", PAGE.read_text(), re.MULTILINE)
    assert [int(code) for code in codes] == list(ExitCode)


def test_every_command_says_what_it_does() -> None:
    for name, entry in ENTRIES.items():
        command = get_command(_app(entry))
        inner = command.commands.values() if isinstance(command, TyperGroup) else [command]
        for one in inner:
            assert one.help, f"{name} {one.name}"
            for parameter in one.params:
                assert parameter.param_type_name in ("option", "argument")
