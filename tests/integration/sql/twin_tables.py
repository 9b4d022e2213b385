"""The tables that generated statements use, and rows in which only the secret differs."""

from __future__ import annotations

SCHEMA = """
create table users (id text, name text, ssn text, email text);
create table orders (id text, user_id text, note text);
create table notes (id text, body text default 'none');
create table people (id text, ssn text) partition by list (id);
create table people_a partition of people for values in ('1', '2');
create table people_b partition of people default;
create table staff (id text, ssn text);
create table managers (bonus text) inherits (staff);
create view v_plain as select id as uid, ssn as tax from users;
create view v_computed as
  select u.id, upper(u.ssn) || '!' as shout, o.note from users u join orders o on o.user_id = u.id;
create view v_deep as select uid, coalesce(tax, '-') as tax from v_plain where uid is not null;
create materialized view m_plain as select id, ssn from users with no data;
alter table users set (autovacuum_enabled = off);
alter table orders set (autovacuum_enabled = off);
alter table notes set (autovacuum_enabled = off);
alter table people_a set (autovacuum_enabled = off);
alter table people_b set (autovacuum_enabled = off);
alter table staff set (autovacuum_enabled = off);
alter table managers set (autovacuum_enabled = off);
alter materialized view m_plain set (autovacuum_enabled = off);
"""

SECRET = frozenset({"public.users.ssn", "public.people.ssn", "public.staff.ssn"})


def rows(secret: str) -> str:
    """The same rows whatever the secret, which stands in every secret column."""
    statements = []
    for number in range(1, 5):
        value = f"{secret}{number}"
        statements += [
            f"insert into users values ('{number}', 'name{number % 2}', '{value}', 'mail{number}')",
            f"insert into orders values ('{number}', '{(number % 3) + 1}', 'note{number}')",
            f"insert into people values ('{number}', '{value}')",
            f"insert into staff values ('{number}', '{value}')",
            f"insert into managers values ('{number}', 'm{value}', 'bonus')",
        ]
    return "; ".join([*statements, "insert into notes values ('1', 'body')", "refresh materialized view m_plain"])


TABLES = {
    "users": ["id", "name", "ssn", "email"],
    "orders": ["id", "user_id", "note"],
    "notes": ["id", "body"],
    "people": ["id", "ssn"],
    "people_a": ["id", "ssn"],
    "staff": ["id", "ssn"],
    "managers": ["id", "ssn", "bonus"],
    "v_plain": ["uid", "tax"],
    "v_computed": ["id", "shout", "note"],
    "v_deep": ["uid", "tax"],
    "m_plain": ["id", "ssn"],
}
