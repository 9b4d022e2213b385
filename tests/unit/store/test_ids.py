from __future__ import annotations

import time

import pytest

from taskgate.store.ids import IdPrefix, is_id, new_id


def test_ids_have_their_prefix_and_sort_by_time() -> None:
    made = []
    for _ in range(3):
        made.append(new_id(IdPrefix.SESSION))
        time.sleep(0.002)
    assert made == sorted(made)
    assert all(is_id(IdPrefix.SESSION, made_id) for made_id in made)
    assert len({new_id(IdPrefix.CREDENTIAL) for _ in range(1000)}) == 1000


@pytest.mark.parametrize(
    "text",
    ["", "ses", "ses_", "tg_" + "0" * 32, "ses_" + "0" * 31, "ses_" + "0" * 33, "ses_" + "G" * 32, "SES_" + "0" * 32,
     "ses_" + "0" * 32 + "\n", "ses_" + "A" * 32, "ses_'; DROP TABLE sessions; --"],
)  # fmt: skip
def test_what_is_no_id(text: str) -> None:
    assert not is_id(IdPrefix.SESSION, text)
