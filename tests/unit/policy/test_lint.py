import pytest

from tests.unit.policy.builders import messages, rule, rules


def doubts(entry: str) -> list[str]:
    found = messages("version: 1\n" + rules(entry), warnings=True)
    return [message.removeprefix('3: rule "r": ') for message in found]


CHOSEN = "which every author of a DAG or flow can choose: name what the platform sets as well (bundle, run_type, "


@pytest.mark.parametrize(
    ("entry", "named"),
    [
        (rule("allow", principals="{dag_id: etl}"), "dag_id"),
        (rule("allow", principals='{kind: task, source: prod, tags: gold, owner: "*"}'), "tags"),
        (rule("approve", principals="{name: etl.load}"), "name"),
        (rule("allow", when='principal.dag_id == "etl" && principal.task_id == "load"'), "dag_id, task_id"),
        (rule("allow", when='principal.flow == "etl" && principal.source == "prod"'), "flow"),
    ],
)
def test_what_rests_only_on_what_authors_choose(entry: str, named: str) -> None:
    assert [doubt[: len(CHOSEN) + len(named) + 16] for doubt in doubts(entry)] == [f"rests only on {named}, {CHOSEN}"]


@pytest.mark.parametrize(
    "entry",
    [
        rule("allow"),
        rule("allow", principals="{source: prod}"),
        rule("allow", principals="{dag_id: etl, bundle: etl}"),
        rule("allow", principals="{dag_id: etl}", when='principal.bundle == "etl"'),
        rule("deny", principals="{dag_id: etl}"),
        rule("allow", principals="{kind: user, name: alice}"),
        rule("approve", '"sql.*"', objects='"public.*"'),
        rule("approve", "sql.delete, sql.set"),
        rule("allow", principals="{assurance: any}"),
        rule("approve", "sql.delete", principals="{assurance: any}"),
    ],
)
def test_what_is_not_doubtful(entry: str) -> None:
    assert doubts(entry) == []


def test_asking_about_begin() -> None:
    assert doubts(rule("approve", '"sql.*"')) == [
        "asks a human about sql.session, sql.set, sql.transaction too (BEGIN, SET, SHOW, …): "
        "name the effects that are meant"
    ]


def test_changes_by_those_who_only_claim() -> None:
    assert doubts(rule("allow", "sql.delete, sql.select", principals="{assurance: any}")) == [
        "allows sql.delete to principals that are only asserted to be who they are"
    ]
