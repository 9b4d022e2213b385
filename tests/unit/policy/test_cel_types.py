"""Every message a condition can be refused with, and that what is accepted means the same to cel-rust."""

import cel
import pytest

from taskgate.policy import cel_functions, cel_syntax, cel_types
from taskgate.policy.condition import SAMPLE, Outcome, compile_condition
from taskgate.policy.fact_names import ROOTS


@pytest.mark.parametrize(
    ("source", "offset", "message"),
    [
        # syntax
        ("principal.bundle == ", 20, "unexpected the end"),
        ("principal.bundle = 'x'", 17, "unexpected character '='"),
        ("(true", 5, 'expected ")" instead of the end'),
        ("true true", 5, 'unexpected "true"'),
        ("principal.", 10, "expected a name instead of the end"),
        ("[1, ", 4, "unexpected the end"),
        ("[1 2]", 3, 'expected "," instead of "2"'),
        ("{'a' 1}", 5, 'expected ":" instead of "1"'),
        ("true ? true", 11, 'expected ":" instead of the end'),
        ("'open", 0, "unexpected character \"'\""),
        ("1u == 1u", 0, "unexpected character '1'"),
        ("b'x' == b'x'", 1, "unexpected \"'x'\""),
        ("for == 1", 0, '"for" is a reserved word'),
        ("!-true", 0, "too many signs in a row"),
        ("x" * 2001, 2000, "longer than 2,000 characters"),
        ("(" * 60 + "true" + ")" * 60, 40, "nested more than 40 deep"),
        ("true" + " && true" * 120, 805, "more than 100 operators in a row"),
        ("principal" + ".a" * 60, 89, "more than 40 members in a row"),
        # names
        ("principal.bundel == 'x'", 10, 'unknown fact "principal.bundel" (did you mean "bundle"?)'),
        ("true || principal.nothing == 'x'", 18, 'unknown fact "principal.nothing"'),
        ("false && principle.kind == 'task'", 9, 'unknown name "principle" (did you mean "principal"?)'),
        ("principal == null", 0, '"principal" has to be followed by one of its facts'),
        ("principal['kind'] == 'task'", 0, '"principal" has to be followed by one of its facts'),
        ("has(principal.bundel)", 14, 'unknown fact "principal.bundel" (did you mean "bundle"?)'),
        ("has(principal)", 0, "has() takes a fact, such as has(principal.bundle)"),
        ("principal.name.size == 1", 15, 'a string has no field "size"'),
        ("startWith('a', 'b')", 0, 'unknown function "startWith"'),
        ("principal.name.startWith('a')", 15, 'unknown function "startWith" (did you mean "startsWith"?)'),
        ("principal.kind == 'tsak'", 18, '"tsak" is none of task, user, service (did you mean "task"?)'),
        ("principal.assurance in ['verifed']", 24, '"verifed" is none of verified, delegated, asserted (did you mean'),
        ("'sonday' == context.weekday", 0, '"sonday" is none of monday, tuesday, wednesday, thursday, friday'),
        # types
        ("1", 0, "a condition is true or false, this is an int"),
        ("principal.name", 0, "a condition is true or false, this is a string"),
        ("action.parameters[0]", 0, "a condition is true or false, this is a dyn"),
        ("principal.try_number == '2'", 21, "an int never equals a string"),
        ("action.effects == ['a', 1] || action.effects == [1]", 45, "a list(string) never equals a list(int)"),
        ("principal.name && true", 0, "&& needs true or false, not a string"),
        ("!principal.name", 1, "! needs true or false, not a string"),
        ("principal.name ? true : false", 0, "? needs true or false, not a string"),
        ("true ? 1 : 'a'", 5, "? gives an int or a string: both have to be the same"),
        ("principal.name < 3", 15, "a string and an int cannot be put in order"),
        ("true < false", 5, "a bool and a bool cannot be put in order"),
        ("principal.name + 1 == 'a'", 15, "+ is not defined for a string and an int"),
        ("1 + 1.5 > 2.0", 2, "+ is not defined for an int and a double"),
        ("-principal.name == 'a'", 0, "- needs a number, not a string"),
        ("'a' in principal.name", 4, "in needs a list, not a string"),
        ("1 in principal.groups", 2, "an int is never in a list(string)"),
        ("principal.groups['a'] == 'b'", 16, "a list(string) is indexed by int, not by string"),
        ("principal.name[0] == 'b'", 14, "a string has no elements"),
        ("target.labels[0] == 'b'", 13, "a map(string) is indexed by string, not by int"),
        ("{1: 2}['a'] == 2", 1, "the keys of a map are texts"),
        ("size(1) == 1", 0, "size() does not take (int)"),
        ("principal.name.startsWith(1)", 15, "startsWith() does not take (string, int)"),
        ("int(context.time) > 1", 0, "int() does not take (timestamp)"),
        # macros
        ("principal.name.exists(c, true)", 15, "exists() goes over a list, not a string"),
        ("principal.groups.exists(g)", 17, "exists() takes a name and an expression"),
        ("principal.groups.exists('g', true)", 17, "exists() takes a name and an expression"),
        ("principal.groups.exists(g, g)", 27, "exists() needs true or false, not a string"),
        ("principal.groups.all(action, true)", 21, '"action" is already the name of facts'),
        (
            "principal.groups.exists(g, action.objects.exists(o, o == g))",
            42,
            "exists() may not stand inside another one: its cost has no bound",
        ),
        # constants
        ("principal.name.matches(principal.source)", 23, "matches() takes a text written out here"),
        ("principal.name.matches('(')", 23, "'(' is not a regular expression (or far too large a one)"),
        ("principal.name.matches(r'(a)\\1')", 23, "is not a regular expression (or far too large a one)"),
        ("principal.name.matches(r'\\pL{50}')", 23, "is too large or too unusual a regular expression"),
        ("principal.name.matches('" + "a" * 201 + "')", 23, "a regular expression longer than 200 characters"),
        ("context.time > timestamp('soon')", 15, "timestamp('soon') has no value: "),
        ("false && duration('soon') > duration('1h')", 9, "duration('soon') has no value: "),
        ("int('x') == 1", 0, "int('x') has no value: "),
        ("timestamp(principal.name) < context.time", 10, "timestamp() takes a text written out here"),
        ("1 / 0 == 1 ? principal.name == 'a' : 5 == 6 % 0", 0, "fails on a record of every fact: division by zero"),
    ],
)  # fmt: skip
def test_what_is_refused(source: str, offset: int, message: str) -> None:
    condition, problems = compile_condition(source)
    assert condition is None
    assert (problems[0].offset, problems[0].message[: len(message)]) == (offset, message) or (
        problems[0].offset == offset and message in problems[0].message
    )


def test_every_problem_is_found_at_once() -> None:
    _, problems = compile_condition("principal.a == 'x' && principal.b == 'y' && context.time > timestamp('z')")
    assert [problem.offset for problem in problems] == [10, 32, 59]


@pytest.mark.parametrize(
    ("source", "uses"),
    [
        ('principal.bundle == "etl" && principal.run_type == "scheduled"', ["principal.bundle", "principal.run_type"]),
        ("'dba' in principal.groups", ["principal.groups"]),
        ("action.objects.exists(o, o.startsWith('public.'))", ["action.objects"]),
        ("principal.groups.filter(g, g != 'x').size() == 1", ["principal.groups"]),
        ("principal.groups.map(g, g + '!').exists(g, g == 'x!')", ["principal.groups"]),
        ("target.labels.env == 'prod' && target.labels['env'] == 'prod'", ["target.labels"]),
        ("context.time - duration('1h') < timestamp('2026-01-01T00:00:00Z')", ["context.time"]),
        ("context.time.getDayOfWeek() == 0 || context.hour >= 22", ["context.hour", "context.time"]),
        ("int(action.parameters[0]) + 1 > 5", ["action.parameters"]),
        ("action.parameters == null || action.parameters[0] == 'x'", ["action.parameters"]),
        ("impact.rows > 100 && impact.triggers < 1e6", ["impact.rows", "impact.triggers"]),
        ("has(principal.attributes.team) && principal.attributes.team == 'data'", ["principal.attributes"]),
        ("principal.name.matches(r'^etl_\\w+$') // remark", ["principal.name"]),
        ("true ? !false : false", []),
        ("-1 < 0 && - 1 < 0 && 7 % 2 == 1 && 1.5 * 2.0 > 2 && !!true", []),
        ('"a\\"b" + \'c\' == """a"bc""" || r"\\d" == "\\\\d"', []),
        ("{'a': 1}['a'] == 1 && 'a' in {'a': 1} && [1, 2] == [1, 2]", []),
        ("principal.kind in ['task', 'user'] && principal.kind != 'service'", ["principal.kind"]),
    ],
)
def test_what_is_accepted_is_understood(source: str, uses: list[str]) -> None:
    condition, problems = compile_condition(source)
    assert [problem.message for problem in problems] == []
    assert condition is not None
    assert sorted(condition.uses) == uses
    assert condition.evaluate(cel.Context(SAMPLE)).outcome in (Outcome.TRUE, Outcome.FALSE, Outcome.UNKNOWN)


def test_every_function_exists_in_the_evaluator() -> None:
    """A function of our tables that cel-rust did not know would fail only when a rule is asked."""
    values = {"string": "'1'", "int": "1", "double": "1.5", "list": "[1]", "map": "{'a': 1}"}
    values |= {"timestamp": "timestamp('2026-01-01T00:00:00Z')", "duration": "duration('1h')"}
    for name, overloads in cel_functions.FUNCTIONS.items():
        for overload in overloads:
            given = {"timestamp": "'2026-01-01T00:00:00Z'", "duration": "'1h'"}.get(name)
            cel.evaluate(f"{name}({given or values[overload.takes[0].name]})")
    for name, overloads in cel_functions.METHODS.items():
        for overload in overloads:
            operand, *arguments = (values[kind.name] for kind in overload.takes)
            cel.evaluate(f"({operand}).{name}({', '.join(arguments)})")


def test_every_fact_has_a_sample_of_its_type() -> None:
    for root, names in ROOTS.items():
        assert SAMPLE[root].keys() == names.keys()
        for name, known in names.items():
            checked = cel_types.check(cel_syntax.parse(f"{root}.{name}"))
            assert checked.type == known.type
