"""`taskgate policy`: check files, run their table tests; `explain` is in `policy_explain.py`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from taskgate.cli.exit_codes import ExitCode
from taskgate.cli.local import DEFAULT_CONFIG, Config, load_settings
from taskgate.cli.output import AsJson, console, print_json
from taskgate.cli.policy_explain import explain
from taskgate.cli.visible import escaped

if TYPE_CHECKING:
    from taskgate.policy.problems import Problem
    from taskgate.policy.table_tests import CaseResult

policy_app = typer.Typer(no_args_is_help=True, add_completion=False)

Paths = Annotated[
    list[Path] | None,
    typer.Argument(
        help="Policy files, or folders of them. Without any: those of the gateway's settings file.", show_default=False
    ),
]


@policy_app.callback()
def policy() -> None:
    """Check, test and explain policy files."""


def _paths(paths: list[Path] | None, config: Path) -> list[Path]:
    return paths or list(load_settings(config).policy)


def _say(text: str, style: str = "") -> None:
    from rich.text import Text

    console().print(Text(escaped(text, keep_lines=True), style=style))


def _say_problems(problems: tuple[Problem, ...]) -> None:
    for problem in problems:
        _say(str(problem), "yellow" if problem.warning else "red")


def _problem_data(problem: Problem) -> dict[str, Any]:
    return {
        "path": problem.path,
        "line": problem.line,
        "severity": "warning" if problem.warning else "error",
        "message": problem.message,
    }


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


@policy_app.command()
def check(
    paths: Paths = None,
    strict: Annotated[bool, typer.Option("--strict", help="Warnings count as problems.")] = False,
    as_json: AsJson = False,
    config: Config = DEFAULT_CONFIG,
) -> None:
    """Find every problem in policy files, each with its place.

    Exit code 0: they load (there may be warnings). 1: they do not. 2: wrong arguments."""
    from taskgate.policy.load import read

    reading = read(_paths(paths, config))
    failed = reading.policy is None or (strict and bool(reading.warnings))
    if as_json:
        print_json(
            {
                "ok": not failed,
                "version": reading.policy.version if reading.policy else None,
                "files": [str(path) for path in reading.files],
                "problems": [_problem_data(problem) for problem in reading.problems],
            }
        )
        raise typer.Exit(ExitCode.FAILED if failed else ExitCode.DONE)
    _say_problems(reading.problems)
    found = [_count(len(reading.errors), "problem"), _count(len(reading.warnings), "warning")]
    files = _count(len(reading.files), "file")
    if reading.policy is None:
        _say(f"{files}: {', '.join(found)}. This policy does not load.", "bold red")
    else:
        own = [rule for rule in reading.policy.rules if not rule.builtin]
        content = f"{_count(len(own), 'rule')}, {_count(len(reading.policy.all_masks), 'mask')}"
        _say(f"{files}, {content}: {found[1]}. Version {reading.policy.version[:12]}.", "bold green")
    raise typer.Exit(ExitCode.FAILED if failed else ExitCode.DONE)


@policy_app.command("test")
def run_tests(paths: Paths = None, as_json: AsJson = False, config: Config = DEFAULT_CONFIG) -> None:
    """Run the table tests beside policy files (`orders.yaml` → `orders.test.yaml`).

    Every test is put to all the files together, as the gateway loads them. A test file may be named too: then its
    folder's policies are what is tested. Exit code 0: all passed. 1: some failed, or there are none. 2: wrong
    arguments."""
    from taskgate.policy.load import read
    from taskgate.policy.table_tests import SUFFIXES, run, table_files

    given = _paths(paths, config)
    tables = table_files(given)
    policies = list(dict.fromkeys(path.parent if path.name.endswith(SUFFIXES) else path for path in given))
    reading = read(policies)
    problems = list(reading.errors)
    results: list[CaseResult] = []
    if reading.policy is not None:
        for path in tables:
            results += run(path, reading.policy, problems)
    failed = [result for result in results if not result.passed]
    bad = bool(problems) or bool(failed) or not results
    if as_json:
        print_json(
            {
                "ok": not bad,
                "passed": len(results) - len(failed),
                "failed": len(failed),
                "tests": [
                    {"name": each.name, "place": each.place, "passed": each.passed, "failures": list(each.failures)}
                    for each in results
                ],
                "problems": [_problem_data(problem) for problem in problems],
            }
        )
        raise typer.Exit(ExitCode.FAILED if bad else ExitCode.DONE)
    _say_problems(tuple(problems))
    for result in results:
        _say(f"{'ok  ' if result.passed else 'FAIL'} {result.name}", "green" if result.passed else "bold red")
        for failure in result.failures:
            _say(f"     {result.place}: {failure}", "red")
    if not tables:
        _say("There are no tests: they stand beside the policy, in <policy>.test.yaml.", "bold red")
    elif not problems:
        summary = f"{len(results) - len(failed)} passed, {len(failed)} failed"
        _say(summary, "bold red" if bad else "bold green")
    raise typer.Exit(ExitCode.FAILED if bad else ExitCode.DONE)


policy_app.command()(explain)
