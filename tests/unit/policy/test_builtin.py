"""What every client may do, through PostgreSQL's own grammar."""

import pytest

from taskgate.domain import Assurance, Verdict
from taskgate.policy import subjects
from taskgate.sql import settings
from taskgate.sql.catalog import Catalog
from tests.unit.policy.builders import NOON, ORDERS, policy, rule, rules, task, user

SYSTEM = {
    f"pg_catalog.{name}": ["x"]
    for name in """pg_class pg_namespace pg_attribute pg_type pg_index pg_constraint pg_proc pg_range pg_enum
    pg_settings pg_roles pg_stats pg_statistic pg_statistic_ext_data pg_authid pg_shadow pg_stat_activity
    pg_stat_statements pg_user_mapping pg_user_mappings pg_largeobject pg_hba_file_rules
    pg_file_settings pg_prepared_xacts pg_subscription""".split()
} | {f"information_schema.{name}": ["x"] for name in ("tables", "columns", "user_mapping_options")}
KNOWN: Catalog = subjects.catalog({**SYSTEM, "public.orders": ["id"]})


def verdict(sql: str, text: str = "") -> str:
    loaded = policy(text, builtin=True)
    action = subjects.statement(sql, KNOWN)
    return str(loaded.decide(task(assurance=Assurance.ASSERTED), ORDERS, action, NOON).verdict)


@pytest.mark.parametrize(
    "sql",
    [
        "",
        ";",
        "-- ping",
        "SELECT 1",
        "SELECT version(), current_user",
        "BEGIN",
        "START TRANSACTION ISOLATION LEVEL SERIALIZABLE",
        "COMMIT",
        "ROLLBACK",
        "SAVEPOINT a; RELEASE a",
        "SHOW ALL",
        "SHOW transaction_isolation",
        "SET statement_timeout = '5s'",
        "SET search_path TO public",
        "SET client_encoding TO 'UTF8'",
        "SET standard_conforming_strings = on",
        "RESET ALL",
        "RESET statement_timeout",
        "DISCARD ALL",
        "DEALLOCATE ALL",
        "CLOSE c",
        "SELECT pg_catalog.set_config('search_path', '', false)",
        "SELECT set_config('jit', 'off', false)",
        "SELECT x FROM pg_class",
        "SELECT t.x FROM pg_catalog.pg_type t JOIN pg_namespace n ON n.x = t.x",
        "SELECT x FROM information_schema.columns",
        "SELECT x FROM pg_settings",
    ],
)
def test_what_every_client_does(sql: str) -> None:
    assert verdict(sql) == "allow"


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT id FROM orders",
        "SELECT x FROM pg_stats",
        "SELECT x FROM pg_statistic",
        "SELECT x FROM pg_statistic_ext_data",
        "SELECT x FROM pg_authid",
        "SELECT x FROM pg_shadow",
        "SELECT x FROM pg_stat_activity",
        "SELECT x FROM pg_stat_statements",
        "SELECT x FROM pg_user_mapping",
        "SELECT x FROM pg_user_mappings",
        "SELECT x FROM pg_largeobject",
        "SELECT x FROM pg_hba_file_rules",
        "SELECT x FROM pg_file_settings",
        "SELECT x FROM pg_prepared_xacts",
        "SELECT x FROM pg_subscription",
        "SELECT x FROM information_schema.user_mapping_options",
        "UPDATE pg_settings SET x = 'y'",
        "SELECT x FROM pg_class; SELECT id FROM orders",
        "SELECT 1 FROM pg_type, orders",
        "SET ROLE postgres",
        "SET SESSION AUTHORIZATION postgres",
        "RESET ROLE",
        "SET standard_conforming_strings = off",
        "SET client_encoding TO 'SJIS'",
        "SET session_replication_role = replica",
        "SELECT set_config('ro' || 'le', 'postgres', false)",
        "LISTEN a",
        "NOTIFY a",
        "EXPLAIN SELECT 1",
        "DO $$ BEGIN END $$",
        "SELECT pg_sleep(1)",
        "SELECT pg_read_file('/etc/passwd')",
        "SELECT query_to_xml('select 1', true, true, '')",
        "PREPARE TRANSACTION 'x'",
        "COPY orders TO STDOUT",
        "LOCK TABLE orders",
        "VACUUM",
        "CREATE TEMP TABLE t (a int)",
        "CHECKPOINT",
    ],
)
def test_what_nobody_may_without_a_rule(sql: str) -> None:
    assert verdict(sql) == "deny"


def test_the_settings_are_those_the_analysis_lists() -> None:
    settled = next(rule for rule in policy("", builtin=True).rules if rule.id == "builtin-settings")
    assert set(settled.spec.match.objects or ()) == settings.ALLOWED | settings.PINNED.keys()


def test_a_rule_of_the_same_name_takes_its_place() -> None:
    narrow = rule("allow", "sql.session", "builtin-session", principals="{kind: user}")
    assert verdict("SHOW ALL", rules(narrow)) == "deny"
    loaded = policy(rules(narrow), builtin=True)
    replaced = [rule for rule in loaded.rules if rule.id == "builtin-session"]
    assert [rule.builtin for rule in replaced] == [False]
    assert loaded.decide(user(), ORDERS, subjects.statement("SHOW ALL", KNOWN), NOON).verdict is Verdict.ALLOW


def test_all_of_them_can_be_switched_off() -> None:
    assert policy("").rules == ()
    assert policy("").decide(task(), ORDERS, subjects.statement("SELECT 1", KNOWN), NOON).verdict is Verdict.DENY


def test_a_denial_beats_them() -> None:
    assert verdict("SHOW ALL", rules(rule("deny", "sql.session"))) == "deny"
