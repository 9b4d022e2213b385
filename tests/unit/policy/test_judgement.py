"""The verdict, case by case."""

from dataclasses import replace

import pytest

from taskgate.domain import Action, Assurance, Facts, Pair, Parameter, RecordingLevel, Verdict
from taskgate.policy.judgement import required
from tests.unit.policy.builders import NOON, decide, does, rule, rules, task, user

SELECT = "sql.select public.orders"
DELETE = "sql.delete public.orders"
A, D, P = rule("allow", name="a"), rule("deny", name="d"), rule("approve", name="p")
UNTRUE = "\"principal.name == 'nobody'\""


@pytest.mark.parametrize(
    ("entries", "verdict", "names"),
    [
        ([], "deny", []),
        ([A], "allow", ["a"]),
        ([D], "deny", ["d"]),
        ([P], "approve", ["p"]),
        ([A, D], "deny", ["d"]),
        ([A, P], "approve", ["a", "p"]),
        ([D, P], "deny", ["d"]),
        ([A, D, P], "deny", ["d"]),
        ([rule("allow", objects="public.customers")], "deny", []),
        ([rule("allow", "sql.insert")], "deny", []),
        ([rule("allow", targets="other")], "deny", []),
        ([rule("allow", when=UNTRUE)], "deny", []),
        ([A, rule("deny", name="d", when=UNTRUE)], "allow", ["a"]),
        ([A, rule("approve", name="p", when=UNTRUE)], "allow", ["a"]),
        ([A, rule("deny", name="d", objects="public.customers")], "allow", ["a"]),
        ([A, rule("deny", name="d", targets="other")], "allow", ["a"]),
        ([A, rule("deny", name="d", principals="{kind: user}")], "allow", ["a"]),
    ],
)
def test_deny_beats_approve_beats_allow_and_nothing_is_deny(entries: list[str], verdict: str, names: list[str]) -> None:
    decision = decide(rules(*entries) if entries else "", does(SELECT))
    assert decision.verdict == verdict
    assert [match.rule for match in decision.matches] == names


def test_every_pair_has_to_be_covered() -> None:
    decision = decide(rules(A), does(SELECT, DELETE))
    assert decision.verdict is Verdict.DENY
    assert [str(pair) for pair in decision.uncovered] == [DELETE]
    assert decide(rules(A, rule("allow", "sql.delete", "b")), does(SELECT, DELETE)).verdict is Verdict.ALLOW


def test_one_statement_that_is_denied_denies_all_of_them() -> None:
    action = Action("postgres", "", (Facts((Pair("sql.select", "a.b"),)), Facts((Pair("sql.delete", "a.b"),))))
    assert decide(rules(A, rule("deny", "sql.delete", "d")), action).verdict is Verdict.DENY


def test_what_is_unresolved_is_covered_by_nothing_and_may_be_denied() -> None:
    action = does(Pair("sql.select", "orders", resolved=False))
    for entry in (A, P, rule("allow", objects='"*"'), rule("allow", objects="orders")):
        decision = decide(rules(entry), action)
        assert decision.verdict is Verdict.DENY
        assert decision.reason == "no rule covers a name that the catalogue does not know: orders"
    assert [match.rule for match in decide(rules(A, rule("deny", name="d", objects="orders")), action).matches] == ["d"]


def test_an_effect_outside_the_vocabulary_is_covered_by_nothing() -> None:
    assert decide(rules(rule("allow", '"*"')), does("sql.teleport public.orders")).verdict is Verdict.DENY


class TestIncomplete:
    CALL = does("sql.call public.f", complete=False, notes=("calls function public.f",))
    NAMED = "[public.f]"

    def test_a_called_function_is_sql_call_and_sql_unknown(self) -> None:
        assert [str(pair) for pair in required(self.CALL)] == ["sql.call public.f", "sql.unknown public.f"]
        both = rule("allow", "sql.call, sql.unknown", objects=self.NAMED)
        assert decide(rules(both), self.CALL).verdict is Verdict.ALLOW

    @pytest.mark.parametrize(
        "entry",
        [
            rule("allow", '"sql.*"'),
            rule("allow", '"*"'),
            rule("allow", "sql.call", objects="[public.f]"),
            rule("allow", '"sql.*", sql.unknown', objects="[public.f]"),
            rule("allow", "sql.call, sql.unknown", objects="[public.g]"),
        ],
    )
    def test_no_glob_reaches_it(self, entry: str) -> None:
        assert decide(rules(entry), self.CALL).verdict is Verdict.DENY

    def test_a_denial_by_glob_does(self) -> None:
        both = rule("allow", "sql.call, sql.unknown", name="a", objects="[public.f]")
        assert decide(rules(both, rule("deny", '"sql.*"', "d")), self.CALL).verdict is Verdict.DENY

    def test_a_human_may_be_asked_about_any_function(self) -> None:
        assert decide(rules(rule("approve", "sql.call, sql.unknown")), self.CALL).verdict is Verdict.APPROVE

    def test_other_reasons_are_unknown_on_nothing_in_particular(self) -> None:
        block = does("sql.do", complete=False, notes=("a code block can do anything",))
        assert [str(pair) for pair in required(block)] == ["sql.do", "sql.unknown"]
        both = replace(self.CALL.facts[0], notes=("calls function public.f", "the session has changed types"))
        pairs = [str(pair) for pair in required(replace(self.CALL, facts=(both,)))]
        assert pairs == ["sql.call public.f", "sql.unknown public.f", "sql.unknown"]

    def test_a_procedure_is_one_reason_although_it_has_two_notes(self) -> None:
        call = does("sql.call public.f", tag="CALL", complete=False, notes=("calls f", "a procedure can do anything"))
        assert decide(rules(rule("allow", "sql.call, sql.unknown", objects="[public.f]")), call).verdict == "allow"

    def test_an_unresolved_function_is_covered_by_nothing(self) -> None:
        call = does(Pair("sql.call", "f", resolved=False), complete=False, notes=("calls f",))
        assert decide(rules(rule("approve", "sql.call, sql.unknown")), call).verdict is Verdict.DENY

    def test_the_reason_says_what_to_name(self) -> None:
        decision = decide(rules(rule("allow", "sql.do")), does("sql.do", complete=False, notes=("anything",)))
        assert decision.reason == "not everything it does is known, and only a rule that names sql.unknown covers that"


def test_sql_that_touches_nothing_is_a_session_matter() -> None:
    session = rules(rule("allow", "sql.session"))
    assert decide(session, does("sql.select")).verdict is Verdict.ALLOW
    assert decide(session, does()).verdict is Verdict.ALLOW
    assert decide(session, Action("postgres", "", ())).verdict is Verdict.ALLOW
    assert decide(rules(A), does("sql.select")).verdict is Verdict.DENY
    assert [str(pair) for pair in required(Action("ssh", "", ()))] == ["sql.unknown"]


class TestAssurance:
    @pytest.mark.parametrize("assurance", [Assurance.ASSERTED, Assurance.DELEGATED])
    def test_what_grants_is_for_verified_principals(self, assurance: Assurance) -> None:
        decision = decide(rules(A), does(SELECT), task(assurance=assurance))
        assert decision.verdict is Verdict.DENY
        assert decision.reason == f"rule a would, but it is about verified principals, and this one is {assurance}"

    def test_what_is_stated_counts(self) -> None:
        stated = rules(rule("allow", principals="{assurance: [asserted]}"))
        assert decide(stated, does(SELECT), task(assurance=Assurance.ASSERTED)).verdict is Verdict.ALLOW
        refused = decide(stated, does(SELECT), task())
        assert refused.verdict is Verdict.DENY
        assert refused.reason == 'rule r would, but principal.assurance is "verified"'
        anybody = rules(rule("allow", principals="{assurance: any}"))
        assert decide(anybody, does(SELECT), task(assurance=Assurance.DELEGATED)).verdict is Verdict.ALLOW

    def test_nobody_slips_past_a_denial(self) -> None:
        text = rules(rule("allow", name="a", principals="{assurance: any}"), D)
        assert decide(text, does(SELECT), task(assurance=Assurance.ASSERTED)).verdict is Verdict.DENY

    def test_nobody_slips_past_an_approval(self) -> None:
        text = rules(rule("allow", name="a", principals="{assurance: any}"), P)
        decision = decide(text, does(SELECT), task(assurance=Assurance.ASSERTED))
        assert decision.verdict is Verdict.DENY
        assert [match.rule for match in decision.matches] == ["p"]
        assert "verified" in (decision.reason or "")


class TestUnknown:
    """A fact that is not known makes an allow rule grant nothing and every other rule refuse."""

    WHEN = "\"principal.run_type == 'manual'\""

    def test_in_a_condition(self) -> None:
        assert decide(rules(rule("allow", when=self.WHEN)), does(SELECT)).verdict is Verdict.DENY
        for verdict in ("deny", "approve"):
            decision = decide(rules(A, rule(verdict, name="x", when=self.WHEN)), does(SELECT))
            assert decision.verdict is Verdict.DENY
            assert decision.reason == "its condition cannot be told: principal.run_type is not known"

    def test_in_principals(self) -> None:
        about = "{run_type: manual}"
        assert decide(rules(rule("allow", principals=about)), does(SELECT)).verdict is Verdict.DENY
        for verdict in ("deny", "approve"):
            decision = decide(rules(A, rule(verdict, name="x", principals=about)), does(SELECT))
            assert decision.verdict is Verdict.DENY
            assert decision.reason == "whether it applies cannot be told: principal.run_type is not known"

    def test_what_only_tasks_have_is_not_unknown_of_a_user(self) -> None:
        text = rules(A, rule("deny", name="d", principals="{run_type: manual}"))
        assert decide(text, does(SELECT), user()).verdict is Verdict.ALLOW

    def test_known_is_known(self) -> None:
        text = rules(A, rule("deny", name="d", principals="{run_type: manual}"))
        assert decide(text, does(SELECT), task(run_type="scheduled")).verdict is Verdict.ALLOW
        assert decide(text, does(SELECT), task(run_type="manual")).verdict is Verdict.DENY


@pytest.mark.parametrize("verdict", ["allow", "deny", "approve"])
def test_a_condition_that_fails_denies_whatever_its_rule(verdict: str) -> None:
    failing = rule(verdict, name="x", when='"10 / (principal.try_number - 2) == 1"')
    decision = decide(rules(A, failing), does(SELECT))
    assert decision.verdict is Verdict.DENY
    assert decision.reason == "its condition fails: division by zero"


class TestUndecided:
    WHEN = "\"action.parameters[0] == '7'\""
    UNBOUND = replace(does(SELECT), parameters=None)

    @pytest.mark.parametrize("verdict", ["allow", "deny", "approve"])
    def test_unbound_parameters_leave_it_open(self, verdict: str) -> None:
        decision = decide(rules(A, rule(verdict, name="x", when=self.WHEN)), self.UNBOUND)
        assert (decision.verdict, decision.undecided, decision.cacheable) == (Verdict.DENY, True, False)

    def test_what_is_lost_anyway_is_decided(self) -> None:
        for text in (
            rules(D, rule("allow", name="x", when=self.WHEN)),
            rules(rule("deny", name="x", when=self.WHEN)),
            rules(rule("allow", "sql.delete", name="x", when=self.WHEN)),
        ):
            decision = decide(text, self.UNBOUND)
            assert (decision.verdict, decision.undecided) == (Verdict.DENY, False)

    def test_bound_parameters_decide(self) -> None:
        text = rules(rule("allow", when=self.WHEN))
        seven, eight = (replace(does(SELECT), parameters=(Parameter(23, 0, value),)) for value in (b"7", b"8"))
        assert decide(text, seven).verdict is Verdict.ALLOW
        assert decide(text, eight).verdict is Verdict.DENY
        assert not decide(text, seven).cacheable

    def test_a_condition_that_does_not_hang_on_them_is_decided(self) -> None:
        when = "\"principal.name == 'x' && action.parameters[0] == '7'\""
        decision = decide(rules(A, rule("deny", name="x", when=when)), self.UNBOUND)
        assert (decision.verdict, decision.undecided, decision.cacheable) == (Verdict.ALLOW, False, False)

    def test_an_estimate_is_asked_for(self) -> None:
        text = rules(rule("allow", "sql.delete", when='"impact.rows <= 10"'))
        decision = decide(text, does(DELETE))
        assert (decision.verdict, decision.undecided, decision.wants_impact) == (Verdict.DENY, False, True)
        few, many = (decide(text, does(DELETE), context=replace(NOON, impact={"rows": n})) for n in (10, 11))
        assert (few.verdict, few.wants_impact, many.verdict) == (Verdict.ALLOW, False, Verdict.DENY)
        unestimated = decide(text, does(DELETE), context=replace(NOON, impact={}))
        assert (unestimated.verdict, unestimated.wants_impact) == (Verdict.DENY, False)


class TestTerms:
    def test_the_strictest_of_all(self) -> None:
        one = rule(
            "approve", name="p1", approval='{from: ["group:dba", "group:sec"], hold: 5m, uses: 3, max_rows: 100}'
        )
        two = rule(
            "approve", name="p2",
            approval='{from: ["group:sec", "user:eve"], expires: 1h, max_rows: 50, streams: allow}',
        )  # fmt: skip
        terms = decide(rules(one, two), does(SELECT)).terms
        assert terms is not None
        assert terms.approvers == ("group:sec",)
        assert (terms.hold, terms.expires, terms.uses, terms.max_rows) == (300, 3600, 1, 50)
        assert (terms.streams, terms.allow_requester, terms.hold_in_transaction) == (False, False, 60)

    def test_other_channels_are_those_that_all_of_them_name(self) -> None:
        def channels(*said: str) -> tuple[str, ...]:
            asking = [
                rule("approve", name=f"p{number}", approval=f'{{from: "group:dba"{more}}}')
                for number, more in enumerate(said)
            ]
            terms = decide(rules(*asking), does(SELECT)).terms
            assert terms is not None
            return terms.channels

        airflow, twice, empty = ", channels: airflow", ", channels: [airflow, airflow]", ", channels: []"
        assert channels(airflow) == channels(twice) == channels(airflow, twice) == ("airflow",)
        assert channels("") == channels(empty) == channels(airflow, "") == channels(empty, airflow) == ()

    def test_nobody_left_is_a_denial(self) -> None:
        one = rule("approve", name="p1")
        two = rule("approve", name="p2", approval='{from: "user:eve"}')
        decision = decide(rules(one, two), does(SELECT))
        assert decision.verdict is Verdict.DENY
        assert decision.reason == "rules p1 and p2 ask different approvers, and nobody is named by all of them"
        assert [match.rule for match in decision.matches] == ["p1", "p2"]

    def test_only_rules_that_match_count(self) -> None:
        other = rule("approve", "sql.delete", "p2", approval='{from: "user:eve"}')
        assert decide(rules(P, other), does(SELECT)).verdict is Verdict.APPROVE


def test_the_smallest_row_bound_counts() -> None:
    wide = rule("allow", name="a", limits="{max_rows: 100}")
    narrow = rule("allow", name="b", limits="{max_rows: 10}")
    assert decide(rules(wide, narrow), does(SELECT)).row_bound == 10
    asked = rule("approve", name="p", approval='{from: "group:dba", max_rows: 5}')
    assert decide(rules(wide, asked), does(SELECT)).row_bound == 5
    assert decide(rules(A), does(SELECT)).row_bound is None


def test_the_fullest_recording_level_stated_counts() -> None:
    metadata, results = rule("allow", name="m", record="metadata"), rule("allow", name="r", record="results")
    assert decide(rules(A), does(SELECT)).recording is RecordingLevel.STATEMENTS
    assert decide(rules(A, metadata), does(SELECT)).recording is RecordingLevel.METADATA
    assert decide(rules(results, metadata), does(SELECT)).recording is RecordingLevel.RESULTS
    assert decide(rules(A, rule("deny", name="d", record="results")), does(SELECT)).recording is RecordingLevel.RESULTS


def test_a_decision_that_looked_at_the_clock_is_not_remembered() -> None:
    clock = rule("allow", name="c", when='"context.hour >= 0"')
    assert not decide(rules(clock), does(SELECT)).cacheable
    assert not decide(rules(A, rule("deny", name="d", when='"context.hour > 23"')), does(SELECT)).cacheable
    assert decide(rules(A, rule("deny", "sql.delete", "d", when='"context.hour > 23"')), does(SELECT)).cacheable
    assert decide(rules(A), does(SELECT)).cacheable


def test_a_reason_is_that_of_the_rule() -> None:
    assert decide(rules(rule("deny", reason="Not now.")), does(SELECT)).reason == "Not now."
    assert decide(rules(rule("approve", reason="Costly.")), does(SELECT)).reason == "Costly."
