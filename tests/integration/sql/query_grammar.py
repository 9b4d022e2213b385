"""A seeded generator of valid queries over the tables of `twin_tables`: many shapes, nested at random.

Every column is text, so that any expression fits anywhere. `users.ssn` and `staff.ssn` are the secret ones."""

from __future__ import annotations

import random
from dataclasses import dataclass

from tests.integration.sql.twin_tables import TABLES


@dataclass
class Source:
    alias: str
    columns: list[str]
    row: bool = True  # has a whole-row value of a known type


class Grammar:
    """One random query at a time; `depth` bounds the nesting."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.names = 0
        self.common: list[tuple[str, list[str]]] = []

    def fresh(self, prefix: str) -> str:
        self.names += 1
        return f"{prefix}{self.names}"

    def chance(self, probability: float) -> bool:
        return self.random.random() < probability

    def pick(self, entries: list[str]) -> str:
        return self.random.choice(entries)

    # --- expressions ---

    def column(self, sources: list[Source]) -> str:
        source = self.random.choice(sources)
        name = self.pick(source.columns)
        alone = sum(name in other.columns for other in sources) == 1
        return name if alone and self.chance(0.4) else f"{source.alias}.{name}"

    def expression(self, sources: list[Source], depth: int) -> str:
        if depth <= 0 or self.chance(0.45):
            return self.column(sources)
        x = lambda: self.expression(sources, depth - 1)  # noqa: E731
        source = self.random.choice(sources)
        shapes = [
            lambda: f"upper({x()})",
            lambda: f"lower({x()})",
            lambda: f"trim({x()})",
            lambda: f"coalesce({x()}, {x()})",
            lambda: f"({x()} || {x()})",
            lambda: f"substring({x()} from 2 for 3)",
            lambda: f"case when {self.predicate(sources, depth - 1)} then {x()} else 'z' end",
            lambda: f"case {x()} when {x()} then 'y' else {x()} end",
            lambda: f"nullif({x()}, {x()})",
            lambda: f"greatest({x()}, {x()})",
            lambda: f"md5({x()})",
            lambda: f"length({x()})::text",
            lambda: f"({x()})::varchar::text",
            lambda: f"encode({x()}::bytea, 'hex')",
            lambda: f"(array[{x()}, {x()}])[1]",
            lambda: f"array_to_string(array[{x()}], ',')",
            lambda: f"format('%s', {x()})",
            lambda: f"(row({x()}, {x()}))::text",
            lambda: f"jsonb_build_object('k', {x()}) ->> 'k'",
            lambda: f'({x()} collate "C")',
            lambda: f"({self.predicate(sources, depth - 1)})::text",
            lambda: f"({self.scalar(sources, depth - 1)})",
            lambda: f"array(select {x()})::text",
            lambda: f"{source.alias}::text",
            lambda: f"row_to_json({source.alias})::text",
            lambda: f"to_jsonb({source.alias}) ->> '{self.pick(source.columns)}'",
            lambda: f"({source.alias}).{self.pick(source.columns)}",
            lambda: f"(json_agg({x()}) over ())::text",
            lambda: f"first_value({x()}) over (order by {self.column(sources)})",
            lambda: f"lag({x()}) over (partition by {self.column(sources)} order by {self.column(sources)})",
        ]
        return self.random.choice(shapes)()

    def predicate(self, sources: list[Source], depth: int) -> str:
        x = lambda: self.simple(sources, depth - 1)  # noqa: E731
        shapes = [
            lambda: f"{x()} = {x()}",
            lambda: f"{x()} like '%1'",
            lambda: f"{x()} > 'k'",
            lambda: f"{x()} is not null",
            lambda: f"{x()} in ({x()}, '1')",
            lambda: f"({x()}, {x()}) < ('m', 'n')",
            lambda: f"{x()} between 'a' and {x()}",
            lambda: f"not ({x()} <> {x()})",
            lambda: f"{x()} is distinct from {x()}",
        ]
        if depth > 0:
            shapes += [
                lambda: f"{x()} in ({self.one_column(sources, depth - 1)})",
                lambda: f"exists ({self.select(depth - 1, sources)[0]})",
                lambda: f"{x()} = any (array[{x()}])",
                lambda: f"{x()} <> all ({self.one_column(sources, depth - 1)})",
            ]
        return self.random.choice(shapes)()

    def simple(self, sources: list[Source], depth: int) -> str:
        """An expression without window functions."""
        if depth > 0 and self.chance(0.3):
            wrap = self.pick(["upper({})", "left({}, 3)", "({} || 'x')", "coalesce({}, 'q')"])
            return wrap.format(self.simple(sources, depth - 1))
        return self.column(sources)

    def scalar(self, outer: list[Source], depth: int) -> str:
        return f"{self.one_column(outer, depth, limited=False)} limit 1"

    def one_column(self, outer: list[Source], depth: int, *, limited: bool = True) -> str:
        text, sources = self.from_clause(min(depth, 1))
        where = f" where {self.predicate(sources + outer, 0)}" if self.chance(0.5) else ""
        del limited
        return f"select {self.simple(sources, depth)} from {text}{where}"

    # --- FROM ---

    def source(self, depth: int, outer: list[Source]) -> tuple[str, Source]:
        alias = self.fresh("t")
        if self.common and self.chance(0.5):
            name, columns = self.random.choice(self.common)
            return f"{name} {alias}", Source(alias, columns)
        if depth > 0 and self.chance(0.35):
            lateral = bool(outer) and self.chance(0.5)
            text, columns = self.query(depth - 1, outer if lateral else [])
            named = [self.fresh("c") for _ in columns] if self.chance(0.4) else None
            names = f"({', '.join(named)})" if named else ""
            return f"{'lateral ' if lateral else ''}({text}) {alias}{names}", Source(alias, named or columns)
        if outer and self.chance(0.15):
            column = self.column(outer)
            shapes = [
                (f"unnest(array[{column}])", ["x"]),
                (f"jsonb_each_text(to_jsonb({self.random.choice(outer).alias}))", ["k", "v"]),
                (f"regexp_split_to_table({column}, '-')", ["x"]),
                (f"(values ({column}, 'b'))", ["p", "q"]),
                (f"jsonb_to_record(to_jsonb({self.random.choice(outer).alias}))", ["ssn text", "id text"]),
            ]
            call, columns = self.random.choice(shapes)
            lateral = "lateral " if call.startswith("(values") else ""
            plain = [column.split()[0] for column in columns]
            return f"{lateral}{call} as {alias}({', '.join(columns)})", Source(alias, plain, row=False)
        if self.chance(0.1):
            call, columns = self.random.choice([
                ("jsonb_each_text('{\"a\": \"1\"}')", ["key", "value"]),
                ("generate_series(1, 2)", [alias]),
                ("string_to_table('a,b', ',')", [alias]),
                ("unnest(array['a', 'b'])", [alias]),
                ("unnest('{a,b}'::text[])", [alias]),
            ])  # fmt: skip
            return f"{call} {alias}", Source(alias, columns, row=False)
        table = self.pick(list(TABLES))
        if self.chance(0.25):
            named = [self.fresh("c") for _ in TABLES[table]]
            return f"{table} as {alias}({', '.join(named)})", Source(alias, named)
        return f"{table} {alias}", Source(alias, TABLES[table])

    def from_clause(self, depth: int, outer: list[Source] | None = None) -> tuple[str, list[Source]]:
        text, source = self.source(depth, [])
        sources = [source]
        while self.chance(0.35) and len(sources) < 3:
            more, source = self.source(depth, sources)
            shared = [name for name in source.columns if sum(name in other.columns for other in sources) == 1]
            if shared and self.chance(0.4):
                text = f"{text} join {more} using ({self.pick(shared)})"
            elif self.chance(0.5):
                sources.append(source)
                kind = self.pick(["join", "left join"])
                text = f"{text} {kind} {more} on {self.predicate(sources, 0)}"
                continue
            else:
                text = f"{text} cross join {more}"
            sources.append(source)
        return text, sources

    # --- queries ---

    def select(self, depth: int, outer: list[Source] | None = None) -> tuple[str, list[str]]:
        """(text, output names); every output has a name of its own."""
        text, sources = self.from_clause(depth, outer)
        visible = sources + (outer or [])
        if self.chance(0.15):
            return self.grouped(text, sources)
        if self.chance(0.15) and len({c for s in sources for c in s.columns}) == sum(len(s.columns) for s in sources):
            source = self.random.choice(sources)
            star = "*" if len(sources) == 1 else f"{source.alias}.*"
            where = f" where {self.predicate(visible, 0)}" if self.chance(0.3) else ""
            return f"select {star} from {text}{where}", list(source.columns)
        names = [self.fresh("c") for _ in range(self.random.randint(1, 3))]
        outputs = [f"{self.expression(sources, depth)} as {name}" for name in names]
        distinct = "distinct " if self.chance(0.08) else ""
        if not distinct and self.chance(0.05):
            distinct = f"distinct on ({self.column(sources)}) "
        parts = [f"select {distinct}{', '.join(outputs)} from {text}"]
        if self.chance(0.35):
            parts.append(f"where {self.predicate(visible, depth)}")
        if self.chance(0.2) and not distinct:
            key = self.pick([names[0], "1", self.column(sources), f"{self.column(sources)} || 'k'"])
            parts.append(f"order by {key}")
        if self.chance(0.1):
            parts.append("limit 2")
        return " ".join(parts), names

    def grouped(self, text: str, sources: list[Source]) -> tuple[str, list[str]]:
        key = self.column(sources)
        aggregate = self.pick([
            "count({})::text", "max({})", "min({})", "string_agg({}, ',')", "array_agg({})::text",
            "count(distinct {})::text",
            "count(*) filter (where {} > 'k')::text", "json_agg({})::text", "bool_or({} > 'k')::text",
        ])  # fmt: skip
        first, second = self.fresh("c"), self.fresh("c")
        having = f" having max({self.column(sources)}) > 'b'" if self.chance(0.3) else ""
        order = " order by 1" if self.chance(0.3) else ""
        filled = aggregate.format(self.column(sources))
        return f"select {key} as {first}, {filled} as {second} from {text} group by {key}{having}{order}", [
            first,
            second,
        ]

    def query(self, depth: int, outer: list[Source] | None = None) -> tuple[str, list[str]]:
        if depth > 0 and self.chance(0.2):
            left, names = self.select(depth - 1, outer)
            operator = self.pick(["union all", "union all", "union", "intersect", "except"])
            arms = [self.column_list(len(names)) for _ in range(self.random.randint(1, 2))]
            return f"({left}) {' '.join(f'{operator} ({arm})' for arm in arms)}", names
        return self.select(depth, outer)

    def column_list(self, count: int) -> str:
        text, sources = self.from_clause(0)
        return f"select {', '.join(self.simple(sources, 1) for _ in range(count))} from {text}"

    def statement(self) -> str:
        """A whole statement: a query, with WITH or without, or a modification that returns rows."""
        depth = self.random.randint(0, 3)
        prefix = ""
        if self.chance(0.3):
            tables = []
            for _ in range(self.random.randint(1, 2)):
                name = self.fresh("w")
                text, columns = self.query(depth)
                tables.append(f"{name} as ({text})")
                self.common.append((name, columns))
            if self.chance(0.2):
                name = self.fresh("r")
                text, sources = self.from_clause(0)
                tables.append(
                    f"{name}(n, s) as (select 1::text, {self.simple(sources, 1)} from {text} union all "
                    f"select {name}.n || '1', {self.pick(['s', 'upper(s)', 's || n'])} from {name} where length(n) < 3)"
                )
                self.common.append((name, ["n", "s"]))
            prefix = f"with recursive {', '.join(tables)} "
        if self.chance(0.15):
            return prefix + self.modification(depth)
        return prefix + self.query(depth)[0]

    def modification(self, depth: int) -> str:
        text, sources = self.from_clause(min(depth, 1))
        value = self.simple(sources, 1)
        return self.pick([
            f"insert into notes (id, body) select '9', {value} from {text} returning *",
            f"insert into notes (id) select {value} from {text} returning body, upper(id)",
            f"update notes set body = {value} from {text} returning notes.body, {self.column(sources)}",
            f"update users set email = {value} from {text} where users.id = '1' returning users.*",
            f"delete from notes using {text} where notes.id = '1' returning {value}, notes.*",
            f"delete from users using {text} where {value} > 'k' returning users.id",
        ])  # fmt: skip


def statement(seed: int) -> str:
    """The statement of this seed."""
    return Grammar(seed).statement()
