"""A store that is away ends sessions; a process that stood still does not."""

from taskgate.enforcement.store_watch import INTERVAL, StoreWatch


def looks(watch: StoreWatch, times: list[float], last_contact: float) -> list[bool]:
    return [watch.lost(now, last_contact) for now in times]


def test_silence_is_noticed_after_five_seconds() -> None:
    watch = StoreWatch(100.0)
    times = [100.0 + INTERVAL * number for number in range(1, 13)]
    assert looks(watch, times, last_contact=100.0) == [time > 105.0 for time in times]


def test_a_process_that_stood_still_asks_again_before_it_judges() -> None:
    watch = StoreWatch(100.0)
    assert not watch.lost(130.0, last_contact=100.0)
    assert not watch.lost(130.5, last_contact=130.1)
    assert watch.lost(131.0, last_contact=100.0), "still silent at the next look"
