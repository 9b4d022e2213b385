import asyncio
import os
import sys
import threading
import time
from pathlib import Path

import pytest

from taskgate.errors import PolicyError
from taskgate.policy.holder import PolicyHolder
from taskgate.policy.policy_set import PolicySet
from tests.unit.policy.builders import rule, rules

GOOD = "version: 1\n" + rules(rule("allow", name="a"))
BETTER = "version: 1\n" + rules(rule("allow", name="b"))
BAD = "version: 1\nrules: 5\n"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    found = tmp_path / "policy.yaml"
    found.write_text(GOOD)
    return found


def names(policy: PolicySet) -> list[str]:
    return [rule.id for rule in policy.rules if not rule.builtin]


def settle(holder: PolicyHolder) -> bool:
    """Poll until the files have stood still."""
    return [holder.poll(), holder.poll()][-1]


def test_nothing_good_to_begin_with_is_an_error(path: Path) -> None:
    path.write_text(BAD)
    with pytest.raises(PolicyError, match="rules: must be a list"):
        PolicyHolder([path])


def test_a_change_comes_into_force(path: Path) -> None:
    holder = PolicyHolder([path])
    told: list[PolicySet] = []
    holder.subscribe(told.append)
    path.write_text(BETTER)
    assert settle(holder)
    assert names(holder.current) == ["b"]
    assert told == [holder.current]
    assert (holder.loads, holder.failures, holder.error) == (2, 0, None)


def test_what_does_not_load_leaves_the_last_good_set(path: Path) -> None:
    holder = PolicyHolder([path])
    before = holder.current
    path.write_text(BAD)
    assert settle(holder)
    assert holder.current is before
    assert "rules: must be a list" in str(holder.error)
    assert holder.failures == 1
    path.write_text(GOOD)
    assert settle(holder)
    assert holder.error is None
    assert holder.current is before  # the same texts: the same set, and nobody is told


def test_a_file_that_vanishes_leaves_the_last_good_set(path: Path) -> None:
    holder = PolicyHolder([path])
    path.unlink()
    assert settle(holder)
    assert names(holder.current) == ["a"]
    assert "No such file" in str(holder.error)


def test_half_a_file_does_not_come_into_force(path: Path) -> None:
    """A policy cut short may load, and permit what its end denies."""
    whole = "version: 1\n" + rules(rule("allow", name="a"), rule("deny", name="d"))
    path.write_text(whole)
    holder = PolicyHolder([path])
    path.write_text(whole[: whole.index("  - id: d")])
    assert not holder.poll()
    path.write_text(whole + "# more\n")
    assert not holder.poll()
    assert names(holder.current) == ["a", "d"]
    assert holder.poll()
    assert names(holder.current) == ["a", "d"]


def test_a_touched_file_is_no_change(path: Path) -> None:
    holder = PolicyHolder([path])
    os.utime(path, ns=(1, 1))
    assert not settle(holder)
    assert holder.loads == 1


def test_a_new_file_in_a_folder_is_seen(path: Path) -> None:
    holder = PolicyHolder([path.parent])
    (path.parent / "more.yaml").write_text(BETTER)
    assert settle(holder)
    assert names(holder.current) == ["a", "b"]


def test_a_change_of_the_same_size_and_time_is_seen_by_its_file(path: Path) -> None:
    holder = PolicyHolder([path])
    stat = path.stat()
    other = path.with_name("new")
    other.write_text(GOOD.replace("id: a", "id: z"))
    os.utime(other, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    other.replace(path)
    assert settle(holder)
    assert names(holder.current) == ["z"]


def test_reload_is_at_once_and_returns_what_is_wrong(path: Path) -> None:
    holder = PolicyHolder([path])
    path.write_text(BETTER)
    assert holder.reload() is None
    assert names(holder.current) == ["b"]
    path.write_text(BAD)
    error = holder.reload()
    assert isinstance(error, PolicyError)
    assert holder.error is error


def test_a_subscriber_that_fails_keeps_it_from_nobody(path: Path) -> None:
    holder = PolicyHolder([path])
    told: list[PolicySet] = []

    def failing(policy: PolicySet) -> None:
        raise OSError("no")

    holder.subscribe(failing)
    ends = holder.subscribe(told.append)
    path.write_text(BETTER)
    holder.reload()
    assert told == [holder.current]
    ends()
    ends()
    path.write_text(GOOD)
    holder.reload()
    assert len(told) == 1


async def test_it_watches_until_cancelled(path: Path) -> None:
    holder = PolicyHolder([path], interval=0.01)
    changed = asyncio.Event()
    holder.subscribe(lambda policy: changed.set())
    watching = asyncio.create_task(holder.run())
    path.write_text(BETTER)
    await asyncio.wait_for(changed.wait(), 10)
    watching.cancel()
    with pytest.raises(asyncio.CancelledError):
        await watching
    assert names(holder.current) == ["b"]


async def test_the_watch_survives_trouble(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    holder = PolicyHolder([path], interval=0.001)
    polled = asyncio.Event()

    def trouble() -> bool:
        if holder.failures:
            polled.set()
        raise OSError("the disk is tired")

    monkeypatch.setattr(holder, "_settled", trouble)
    watching = asyncio.create_task(holder.run())
    await asyncio.wait_for(polled.wait(), 10)
    watching.cancel()
    assert holder.failures >= 1
    assert names(holder.current) == ["a"]


async def test_a_thousand_rules_hold_nobody_up(tmp_path: Path) -> None:
    """While they are read again in a thread, the event loop turns."""
    rules = [
        f"  - id: r{number}\n    match: {{targets: [orders-db], effects: [sql.select], objects: [public.t{number}]}}\n"
        f"    when: principal.dag_id == 'd{number}' && principal.try_number < 3\n    verdict: allow\n"
        for number in range(1000)
    ]
    file = tmp_path / "policy.yaml"
    file.write_text("version: 1\nrules:\n" + "".join(rules))
    interval = sys.getswitchinterval()
    sys.setswitchinterval(0.001)  # as the gateway sets it
    holder = PolicyHolder([file], interval=0.05)
    changed = asyncio.Event()
    holder.subscribe(lambda policy: changed.set())
    running = asyncio.create_task(holder.run())
    gaps: list[float] = []
    try:
        file.write_text("version: 1\nrules:\n" + "".join(rules[1:]))
        async with asyncio.timeout(60):
            while not changed.is_set():
                before = time.perf_counter()
                await asyncio.sleep(0.001)
                gaps.append(time.perf_counter() - before)
        assert len(holder.current.rules) >= 999
        gaps.sort()
        assert gaps[int(len(gaps) * 0.98)] < 0.05, gaps[-5:]
    finally:
        sys.setswitchinterval(interval)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_a_hurry_reads_at_once(tmp_path: Path) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text("version: 1\nrules: []\n")
    holder = PolicyHolder([file], interval=60)
    running = asyncio.create_task(holder.run())
    changed = asyncio.Event()
    holder.subscribe(lambda policy: changed.set())
    await asyncio.sleep(0)
    file.write_text("version: 1\nrules: []\nmasks: []\n# changed\n")
    holder.hurry()
    async with asyncio.timeout(10):
        await changed.wait()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_a_set_is_prepared_in_the_thread_before_it_is_in_force(path: Path) -> None:
    seen: list[tuple[list[str], list[str], bool]] = []
    changed = asyncio.Event()

    def prepare(policy: PolicySet) -> None:
        seen.append((names(policy), names(holder.current), threading.current_thread() is threading.main_thread()))
        raise OSError("no")  # keeps it from nobody

    holder = PolicyHolder([path], interval=60, prepare=prepare)
    holder.subscribe(lambda policy: changed.set())
    running = asyncio.create_task(holder.run())
    path.write_text(BETTER)
    holder.hurry()
    async with asyncio.timeout(10):
        await changed.wait()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert seen == [(["b"], ["a"], False)]
    assert names(holder.current) == ["b"]
