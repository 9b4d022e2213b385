"""The SQL that reads a target's catalogue. Every name is qualified; the reader's search_path is `pg_catalog` alone, so
that `pg_get_viewdef` qualifies every name outside it.

Temporary schemas belong to sessions and are left out. Views of `pg_catalog` and `information_schema` count as stored:
what they show is not user data, except statistics (`pg_stats`), which policy keeps closed.
"""

from __future__ import annotations

RELATIONS = """
select c.oid::int8 as oid, n.nspname::text as schema, c.relname::text as name, c.relkind::text as kind,
       case when c.relkind in ('v', 'm') and n.nspname not in ('pg_catalog', 'information_schema')
            then pg_catalog.pg_get_viewdef(c.oid) end as definition,
       exists (select from pg_catalog.pg_rewrite r where r.ev_class = c.oid and r.rulename <> '_RETURN') as rules
from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where c.relkind in ('r', 'p', 'v', 'm', 'f', 'S', 'i', 'I') and c.relpersistence <> 't' and n.nspname <> 'pg_toast'
  and not (c.relkind in ('i', 'I') and c.oid < 16384)
"""

COLUMNS = """
select a.attrelid::int8 as oid, pg_catalog.array_agg(a.attname::text order by a.attnum) as names,
       pg_catalog.array_agg(a.attnum::int4 order by a.attnum) as numbers,
       pg_catalog.array_agg(tn.nspname::text || '.' || t.typname::text order by a.attnum) as types,
       pg_catalog.array_agg(a.attgenerated <> '' order by a.attnum) as generated
from pg_catalog.pg_attribute a
join pg_catalog.pg_class c on c.oid = a.attrelid
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
join pg_catalog.pg_type t on t.oid = a.atttypid
join pg_catalog.pg_namespace tn on tn.oid = t.typnamespace
where a.attnum > 0 and not a.attisdropped and c.relkind in ('r', 'p', 'v', 'm', 'f', 'S') and c.relpersistence <> 't'
  and n.nspname <> 'pg_toast'
group by a.attrelid
"""

PARENTS = "select inhrelid::int8 as child, inhparent::int8 as parent from pg_catalog.pg_inherits"

SCHEMAS = """
select nspname::text as name from pg_catalog.pg_namespace
where nspname !~ '^pg_temp_' and nspname !~ '^pg_toast'
"""

FUNCTIONS = """
select p.proname::text as name, pg_catalog.array_agg(distinct n.nspname::text) as schemas
from pg_catalog.pg_proc p join pg_catalog.pg_namespace n on n.oid = p.pronamespace
where (n.nspname <> 'pg_catalog' or p.proname::text <> all ($1::text[])) and n.nspname !~ '^pg_temp_'
group by p.proname
"""
"""$1: the listed functions of `pg_catalog`. Those of it that are not listed are read, so that they resolve."""

_NOT_OF_TRUSTED_EXTENSION = """
not exists (select from pg_catalog.pg_depend d join pg_catalog.pg_extension e on e.oid = d.refobjid
            where d.classid = '{table}'::pg_catalog.regclass and d.objid = {oid} and d.deptype = 'e'
              and d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass and e.extname::text = any ($1::text[]))
"""

OPERATORS = f"""
select o.oprname::text as name, pg_catalog.array_agg(distinct n.nspname::text) as schemas
from pg_catalog.pg_operator o join pg_catalog.pg_namespace n on n.oid = o.oprnamespace
where n.nspname <> 'pg_catalog' and {_NOT_OF_TRUSTED_EXTENSION.format(table="pg_catalog.pg_operator", oid="o.oid")}
group by o.oprname
"""  # noqa: S608

CASTS = f"""
select n.nspname::text || '.' || t.typname::text as target, fn.nspname::text || '.' || p.proname::text as function
from pg_catalog.pg_cast c
join pg_catalog.pg_proc p on p.oid = c.castfunc
join pg_catalog.pg_namespace fn on fn.oid = p.pronamespace
join pg_catalog.pg_type t on t.oid = c.casttarget
join pg_catalog.pg_namespace n on n.oid = t.typnamespace
where fn.nspname <> 'pg_catalog' and {_NOT_OF_TRUSTED_EXTENSION.format(table="pg_catalog.pg_cast", oid="c.oid")}
"""  # noqa: S608

TRUSTED_EXTENSIONS = (
    "btree_gin", "btree_gist", "citext", "cube", "hstore", "intarray", "isn", "ltree", "pg_trgm", "seg", "vector",
)  # fmt: skip
"""Extensions whose operators and casts only compute. Their functions, called by name, still have to be allowed."""

TYPES = f"""
select t.typname::text as name, n.nspname::text as schema, t.typtype::text as kind
from pg_catalog.pg_type t join pg_catalog.pg_namespace n on n.oid = t.typnamespace
left join pg_catalog.pg_class c on c.oid = t.typrelid
where n.nspname not in ('pg_catalog', 'information_schema', 'pg_toast') and n.nspname !~ '^pg_temp_'
  and (t.typrelid = 0 or c.relkind = 'c') and t.typcategory <> 'A'
  and {_NOT_OF_TRUSTED_EXTENSION.format(table="pg_catalog.pg_type", oid="t.oid")}
"""  # noqa: S608

DIGEST = """
select pg_catalog.concat_ws(';',
  (select pg_catalog.concat_ws(',', count(*), sum(xmin::text::int8)) from pg_catalog.pg_class
   where oid >= 16384 and relpersistence <> 't'),
  (select pg_catalog.concat_ws(',', count(*), sum(a.xmin::text::int8)) from pg_catalog.pg_attribute a
   join pg_catalog.pg_class c on c.oid = a.attrelid
   where a.attrelid >= 16384 and c.relpersistence <> 't' and c.relkind in ('r', 'p', 'v', 'm', 'f')),
  (select pg_catalog.concat_ws(',', count(*), sum(xmin::text::int8)) from pg_catalog.pg_proc),
  (select pg_catalog.concat_ws(',', count(*), sum(xmin::text::int8)) from pg_catalog.pg_rewrite
   where ev_class in (select oid from pg_catalog.pg_class where oid >= 16384 and relpersistence <> 't')),
  (select pg_catalog.concat_ws(',', count(*), sum(xmin::text::int8)) from pg_catalog.pg_inherits),
  (select pg_catalog.concat_ws(',', count(*), sum(xmin::text::int8)) from pg_catalog.pg_operator),
  (select pg_catalog.concat_ws(',', count(*), sum(xmin::text::int8)) from pg_catalog.pg_cast),
  (select pg_catalog.concat_ws(',', count(*), sum(xmin::text::int8)) from pg_catalog.pg_extension),
  (select pg_catalog.concat_ws(',', count(*), sum(xmin::text::int8)) from pg_catalog.pg_type
   where oid >= 16384 and typrelid = 0 and typcategory <> 'A'),
  (select pg_catalog.concat_ws(',', count(*), sum(xmin::text::int8)) from pg_catalog.pg_namespace
   where nspname !~ '^pg_temp_' and nspname !~ '^pg_toast'))
"""
"""Differs after every committed DDL: any inserted, updated or deleted row of these catalogues moves a count or a sum of
writing transactions. (The newest writer alone would miss a transaction that commits after a younger one.) Temporary
relations and VACUUM leave it alone. It scans what is cheap to scan: 20 ms for 1,000 tables of 20 columns."""
