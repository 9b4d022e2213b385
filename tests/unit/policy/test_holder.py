import asyncio
import gc
import os
import sys
import time
from pathlib import Path

import pytest

from taskgate import gateway
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


async def settle(holder: PolicyHolder) -> bool:
    """Poll until the files have stood still."""
    await holder.poll()
    return await holder.poll()


def test_nothing_good_to_begin_with_is_an_error(path: Path) -> None:
    path.write_text(BAD)
    with pytest.raises(PolicyError, match="rules: must be a list"):
        PolicyHolder([path])


async def test_a_change_comes_into_force(path: Path) -> None:
    holder = PolicyHolder([path])
    told: list[PolicySet] = []
    holder.subscribe(told.append)
    path.write_text(BETTER)
    assert await settle(holder)
    assert names(holder.current) == ["b"]
    assert told == [holder.current]
    assert (holder.loads, holder.failures, holder.error) == (2, 0, None)


async def test_what_does_not_load_leaves_the_last_good_set(path: Path) -> None:
    holder = PolicyHolder([path])
    before = holder.current
    path.write_text(BAD)
    assert await settle(holder)
    assert holder.current is before
    assert "rules: must be a list" in str(holder.error)
    assert holder.failures == 1
    path.write_text(GOOD)
    assert await settle(holder)
    assert holder.error is None
    assert holder.current is before  # the same texts: the same set, and nobody is told


async def test_a_file_that_vanishes_leaves_the_last_good_set(path: Path) -> None:
    holder = PolicyHolder([path])
    path.unlink()
    assert await settle(holder)
    assert names(holder.current) == ["a"]
    assert "No such file" in str(holder.error)


async def test_half_a_file_does_not_come_into_force(path: Path) -> None:
    """A policy cut short may load, and permit what its end denies."""
    whole = "version: 1\n" + rules(rule("allow", name="a"), rule("deny", name="d"))
    path.write_text(whole)
    holder = PolicyHolder([path])
    path.write_text(whole[: whole.index("  - id: d")])
    assert not await holder.poll()
    path.write_text(whole + "# more\n")
    assert not await holder.poll()
    assert names(holder.current) == ["a", "d"]
    assert await holder.poll()
    assert names(holder.current) == ["a", "d"]


async def test_a_touched_file_is_no_change(path: Path) -> None:
    holder = PolicyHolder([path])
    os.utime(path, ns=(1, 1))
    assert not await settle(holder)
    assert holder.loads == 1


async def test_a_new_file_in_a_folder_is_seen(path: Path) -> None:
    holder = PolicyHolder([path.parent])
    (path.parent / "more.yaml").write_text(BETTER)
    assert await settle(holder)
    assert names(holder.current) == ["a", "b"]


async def test_a_change_of_the_same_size_and_time_is_seen_by_its_file(path: Path) -> None:
    holder = PolicyHolder([path])
    stat = path.stat()
    other = path.with_name("new")
    other.write_text(GOOD.replace("id: a", "id: z"))
    os.utime(other, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    other.replace(path)
    assert await settle(holder)
    assert names(holder.current) == ["z"]


async def test_reload_is_at_once_and_returns_what_is_wrong(path: Path) -> None:
    holder = PolicyHolder([path])
    path.write_text(BETTER)
    assert await holder.reload() is None
    assert names(holder.current) == ["b"]
    path.write_text(BAD)
    error = await holder.reload()
    assert isinstance(error, PolicyError)
    assert holder.error is error


async def test_a_subscriber_that_fails_keeps_it_from_nobody(path: Path) -> None:
    holder = PolicyHolder([path])
    told: list[PolicySet] = []

    def failing(policy: PolicySet) -> None:
        raise OSError("no")

    holder.subscribe(failing)
    ends = holder.subscribe(told.append)
    path.write_text(BETTER)
    await holder.reload()
    assert told == [holder.current]
    ends()
    ends()
    path.write_text(GOOD)
    await holder.reload()
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

    async def trouble() -> bool:
        if holder.failures:
            polled.set()
        raise OSError("the disk is tired")

    monkeypatch.setattr(holder, "poll", trouble)
    watching = asyncio.create_task(holder.run())
    await asyncio.wait_for(polled.wait(), 10)
    watching.cancel()
    assert holder.failures >= 1
    assert names(holder.current) == ["a"]


async def test_it_reloads_at_once_when_asked(path: Path) -> None:
    holder = PolicyHolder([path], interval=60)
    changed = asyncio.Event()
    holder.subscribe(lambda policy: changed.set())
    watching = asyncio.create_task(holder.run())
    await asyncio.sleep(0)
    path.write_text(BETTER)
    holder.reload_soon()
    await asyncio.wait_for(changed.wait(), 10)
    watching.cancel()
    assert names(holder.current) == ["b"]


async def test_reloads_come_one_after_the_other(path: Path) -> None:
    """However they overlap, the last one that read the files is in force."""
    holder = PolicyHolder([path])
    first = asyncio.create_task(holder.reload())
    await asyncio.sleep(0)
    path.write_text(BETTER)
    await asyncio.gather(first, holder.reload(), holder.poll())
    assert names(holder.current) == ["b"]
    assert not await settle(holder)


async def test_sessions_go_on_while_a_thousand_rules_are_read(tmp_path: Path) -> None:
    """Read on the event loop they would stand still for a quarter of a second."""
    path = tmp_path / "many.yaml"
    names = [f"rule-{number}" for number in range(1000)]
    path.write_text("version: 1\n" + rules(*(rule("allow", name=name) for name in names)))
    holder = PolicyHolder([path])
    standing: list[float] = []

    async def watch() -> None:
        last = time.perf_counter()
        while True:
            await asyncio.sleep(0.001)
            now = time.perf_counter()
            standing[-1] = max(standing[-1], now - last)
            last = now

    interval = sys.getswitchinterval()
    sys.setswitchinterval(gateway.SWITCH_INTERVAL)
    gc.freeze()  # or collecting garbage goes through all that the test run has loaded
    try:
        for number in range(3):  # the best of them, as the machine may be busy
            standing.append(0.0)
            watching = asyncio.create_task(watch())
            path.write_text(path.read_text() + f"# {number}\n")
            started = time.perf_counter()
            assert await holder.reload() is None
            took = time.perf_counter() - started
            watching.cancel()
        assert holder.loads == 4
        assert min(standing) < 0.05
        assert min(standing) < took / 3
    finally:
        gc.unfreeze()
        sys.setswitchinterval(interval)
