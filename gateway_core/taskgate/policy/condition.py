"""A rule's `when`: checked at load, evaluated by cel-rust, with every way it can end spelt out."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from functools import lru_cache
from typing import Any

import cel
import re2

from taskgate.policy import cel_syntax, cel_types
from taskgate.policy.cel_syntax import ConditionProblem
from taskgate.policy.fact_names import ROOTS, Origin, Type, fact

_LONGEST_PATTERN = 200
_PATTERN_MEMORY = 1 << 18  # bytes of RE2's program: beyond it a pattern costs cel-rust more than 5 ms every time


class Outcome(StrEnum):
    """How an evaluation ended."""

    TRUE = "true"
    FALSE = "false"
    UNKNOWN = "unknown"  # it looks at a fact that is not known here
    NEEDS_PARAMETERS = "needs parameters"
    NEEDS_IMPACT = "needs impact"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Evaluation:
    """`why` says what was not known or what went wrong, without any value."""

    outcome: Outcome
    why: str = ""


_TRUE = Evaluation(Outcome.TRUE)
_FALSE = Evaluation(Outcome.FALSE)

_INDEX = "an index is out of bounds"
_FAILURES: tuple[tuple[type[Exception], str], ...] = (
    (IndexError, _INDEX),
    (ZeroDivisionError, "division by zero"),
    (OverflowError, "a number is too large"),
    (TypeError, "the types do not fit"),
)


@dataclass(frozen=True, slots=True, eq=False)
class Condition:
    """A compiled condition. `uses` are the facts it looks at, such as `principal.bundle`; `volatile`: one of them is
    (`Fact.volatile`)."""

    source: str
    program: Any
    uses: frozenset[str]
    volatile: bool

    @property
    def identity(self) -> frozenset[str]:
        """The `principal.*` facts that tell one principal of a kind and source from another."""
        return frozenset(
            path for path in self.uses if path.startswith("principal.") and fact(path).origin is not Origin.SCOPE
        )

    def evaluate(
        self, values: Any, *, oversize: frozenset[str] = frozenset(), parameters_bound: bool = True, impact: bool = True
    ) -> Evaluation:
        """`values`: a `cel.Context` of what a FactRecord holds. Never raises."""
        try:
            result = self.program.execute(values)
        except KeyError as error:
            return self._missing(str(error.args[0]).strip("'\""), oversize, parameters_bound, impact)
        except Exception as error:  # noqa: BLE001 - whatever it is, the condition has failed and the action is refused
            why = next((text for kind, text in _FAILURES if isinstance(error, kind)), "it cannot be evaluated")
            return Evaluation(Outcome.FAILED, why)
        if result is True:
            return _TRUE
        if result is False:
            return _FALSE
        return Evaluation(Outcome.FAILED, "it is neither true nor false")

    def _missing(self, name: str, oversize: frozenset[str], parameters_bound: bool, impact: bool) -> Evaluation:
        large = sorted(self.uses & oversize)
        if large:
            return Evaluation(Outcome.FAILED, f"{', '.join(large)} is too large to look at")
        if not parameters_bound and "action.parameters" in self.uses:
            return Evaluation(Outcome.NEEDS_PARAMETERS, "no parameters are bound yet")
        if not impact and any(path.startswith("impact.") for path in self.uses):
            return Evaluation(Outcome.NEEDS_IMPACT, "nothing has estimated the impact yet")
        known = [path for path in sorted(self.uses) if path.endswith(f".{name}")]
        return Evaluation(Outcome.UNKNOWN, f"{known[0] if known else name} is not known")


def _sample(kind: Type) -> Any:
    match kind.name:
        case "string":
            return kind.values[0] if kind.values else "1"
        case "int":
            return 1
        case "double":
            return 1.5
        case "bool":
            return True
        case "timestamp":
            return datetime(2026, 1, 1, tzinfo=UTC)
        case "list":
            return ["1", "1", "1", "1"]
        case _:
            return {}


#: A fact record that holds every name.
SAMPLE: dict[str, dict[str, Any]] = {
    root: {name: _sample(known.type) for name, known in names.items()} for root, names in ROOTS.items()
}


@lru_cache(maxsize=4096)
def compile_condition(source: str) -> tuple[Condition | None, tuple[ConditionProblem, ...]]:
    """Check and compile. Every problem found is returned; the condition only where there is none. Equal texts are the
    same condition, so that a decision evaluates it once."""
    condition, problems = _compile(source)
    return condition, tuple(sorted(problems, key=lambda problem: problem.offset))


def _compile(source: str) -> tuple[Condition | None, list[ConditionProblem]]:
    try:
        tree = cel_syntax.parse(source)
    except ConditionProblem as problem:
        return None, [problem]
    checked = cel_types.check(tree)
    problems = list(checked.problems)
    for start, end in dict.fromkeys(checked.patterns):
        problems += _check_pattern(source[start:end], start)
    for start, end in checked.constants:
        try:
            cel.evaluate(source[start:end])
        except Exception as error:  # noqa: BLE001 - cel raises many kinds
            problems.append(ConditionProblem(f"{source[start:end]} has no value: {_first_line(error)}", start))
    if problems:
        return None, problems
    try:
        program = cel.compile(source)
        variables = set(program.variables())
    except Exception as error:  # noqa: BLE001 - cel raises many kinds
        return None, [ConditionProblem(f"not CEL: {_first_line(error)}", 0)]
    volatile = any(fact(path).volatile for path in checked.uses)
    condition = Condition(source, program, frozenset(checked.uses), volatile)
    if {path.partition(".")[0] for path in checked.uses} != variables & ROOTS.keys():
        return None, [ConditionProblem("is read differently by the evaluator: put it more simply", 0)]
    evaluation = condition.evaluate(cel.Context(SAMPLE))
    if evaluation.outcome is Outcome.FAILED and evaluation.why != _INDEX:  # a list's length is nothing to rely on here
        return None, [ConditionProblem(f"fails on a record of every fact: {evaluation.why}", 0)]
    return condition, []


def _first_line(error: Exception) -> str:
    """cel's own words, which are of the policy's text only: nothing else has been evaluated yet."""
    return str(error).splitlines()[0][:200]


def _check_pattern(literal: str, offset: int) -> list[ConditionProblem]:
    """A regular expression has to compile, in cel-rust's linear engine and, for its size, in RE2."""
    try:
        pattern: str = cel.evaluate(literal)
        cel.evaluate(f'"".matches({literal})')
    except Exception:  # noqa: BLE001 - cel raises many kinds
        return [ConditionProblem(f"{literal} is not a regular expression (or far too large a one)", offset)]
    options = re2.Options()
    options.log_errors = False
    options.max_mem = _PATTERN_MEMORY
    # cel-rust's classes are Unicode's, RE2's are ASCII's: what is measured must be as large as what runs.
    unicode = re.sub(r"\\([wWdDsS])", lambda match: r"\pL" if match[1].islower() else r"\PL", pattern)
    try:
        re2.compile(unicode, options)
    except re2.error:
        return [ConditionProblem(f"{literal} is too large or too unusual a regular expression", offset)]
    if len(pattern) > _LONGEST_PATTERN:
        return [ConditionProblem(f"a regular expression longer than {_LONGEST_PATTERN} characters", offset)]
    return []
