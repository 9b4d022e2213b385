"""DDL, DCL and administration: the objects of each statement."""

from __future__ import annotations

import pytest

from taskgate.sql import definitions
from tests.unit.sql.catalogs import facts, outside, pairs

EFFECTS = [
    ("create table t (id int)", ["ddl public.t"]),
    ("create table audit.t (id int references public.users)", ["ddl audit.t", "ddl public.users"]),
    ("create temp table t (id int)", ["ddl pg_temp.t"]),
    ("create table t (like users)", ["ddl public.t", "select public.users"]),
    ("create table t partition of people for values in (1)", ["ddl public.people", "ddl public.t"]),
    ("create table t (id int default secret(1))", ["call public.secret", "ddl public.t"]),
    ("create foreign table t (id int) server s", ["ddl public.t"]),
    ("alter table users add column x int", ["ddl public.users"]),
    ("alter table users owner to me", ["dcl public.users", "ddl public.users"]),
    ("alter table people attach partition notes default", ["ddl public.notes", "ddl public.people"]),
    ("alter table nope add column x int", ["ddl nope (unresolved)"]),
    ("create unique index on users (email)", ["ddl public.users"]),
    ("create index on users (secret(email))", ["call public.secret", "ddl public.users"]),
    ("create trigger t before insert on users for each row execute function f()", ["ddl public.users"]),
    ("create rule r as on insert to users do instead delete from orders", ["ddl public.users"]),
    ("create policy p on users using (true)", ["ddl public.users"]),
    ("create view v as select ssn from users", ["ddl public.v", "select public.users"]),
    ("create materialized view v as select 1", ["ddl public.v"]),
    ("create sequence s", ["ddl public.s"]),
    ("create schema s create table t (id int)", ["ddl public.t", "ddl s"]),
    ("create function f() returns int language sql as 'select 1'", ["ddl public.f"]),
    ("create or replace procedure audit.p() language sql as ''", ["ddl audit.p"]),
    ("create type mood2 as enum ('a')", ["ddl public.mood2"]),
    ("create domain d as text", ["ddl public.d"]),
    ("create aggregate a (int) (sfunc = f, stype = int)", ["ddl public.a"]),
    ("create operator public.== (leftarg = int, rightarg = int, function = f)", ["ddl public.=="]),
    ("create cast (text as int) with function f(text)", ["ddl"]),
    ("drop table users, audit.users, gone", ["ddl audit.users", "ddl gone (unresolved)", "ddl public.users"]),
    ("drop view v_plain", ["ddl public.v_plain"]),
    ("drop function secret(int)", ["ddl public.secret"]),
    ("drop function gone(int)", ["ddl gone (unresolved)"]),
    ("drop type mood", ["ddl public.mood"]),
    ("drop trigger t on users", ["ddl public.users"]),
    ("drop schema audit cascade", ["ddl audit"]),
    ("drop extension hstore", ["admin hstore"]),
    ("alter table users rename to x", ["ddl public.users"]),
    ("alter table users rename column ssn to x", ["ddl public.users"]),
    ("alter table users set schema audit", ["ddl public.users"]),
    ("alter function secret(int) owner to me", ["dcl public.secret"]),
    ("alter type mood add value 'x'", ["ddl public.mood"]),
    ("comment on column users.ssn is 'x'", ["ddl public.users"]),
    ("grant select on users to me", ["dcl public.users"]),
    ("revoke all on all tables in schema audit from me", ["dcl audit"]),
    ("grant execute on function secret(int) to me", ["dcl public.secret"]),
    ("grant admins to me", ["dcl"]),
    ("create role r superuser", ["dcl r"]),
    ("alter role r set standard_conforming_strings = off", ["dcl r"]),
    ("drop owned by me", ["dcl"]),
    ("reassign owned by me to you", ["dcl"]),
    ("alter default privileges grant select on tables to me", ["dcl"]),
    ("create extension dblink", ["admin dblink"]),
    ("create database d", ["admin d"]),
    ("alter database d set work_mem = 1", ["admin d"]),
    ("alter system set work_mem = 1", ["admin"]),
    ("load 'x'", ["admin x"]),
    ("create subscription s connection '' publication p", ["admin s"]),
    ("create publication p for all tables", ["admin p"]),
    ("create server s foreign data wrapper w", ["admin s"]),
    ("create event trigger e on ddl_command_end execute function f()", ["admin e"]),
    ("create language l", ["admin l"]),
    ("create tablespace t location '/x'", ["admin t"]),
]  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), EFFECTS, ids=[text for text, _ in EFFECTS])
def test_effects(text: str, expected: list[str]) -> None:
    assert pairs(text) == expected
    assert facts(text).changes
    assert facts(text).name_changes


def test_definitions_run_their_expressions() -> None:
    assert outside("alter table users alter column ssn type int using ssn::int") == ["users.ssn"]
    assert outside("alter table users add check (ssn <> '')") == ["users.ssn"]
    assert outside("create index on users (lower(ssn))") == ["users.ssn"]


def test_checks_and_indexes_may_quote_values() -> None:
    assert "public.users.ssn" in facts("create unique index on users (id)").columns_read
    assert "public.users.ssn" in facts("alter table users add check (id <> '')").columns_read


def test_every_kind_of_the_grammar_is_classified() -> None:
    """Statement nodes of the grammar that no table names are sql.unknown; this list is looked at when it changes."""
    from pathlib import Path

    import postgast
    from google.protobuf import descriptor_pb2

    from taskgate.sql.statements import KINDS

    described = descriptor_pb2.FileDescriptorSet()
    described.ParseFromString((Path(postgast.__file__).parent / "pg_query.desc").read_bytes())
    (node,) = [message for message in described.file[0].message_type if message.name == "Node"]
    kinds = {field.type_name.rpartition(".")[2] for field in node.field}
    statements = {kind for kind in kinds if kind.endswith("Stmt")}
    assert statements - set(KINDS) == {
        "RawStmt",
        "SetOperationStmt",
        "ReturnStmt",
        "PLAssignStmt",
        "ReplicaIdentityStmt",
    }
    assert set(KINDS) <= statements


def test_kinds_are_disjoint() -> None:
    from taskgate.sql import administration

    assert set(administration.KINDS) <= set(definitions.KINDS)
