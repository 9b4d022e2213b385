from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from taskgate.domain import Assurance, Attempt, Principal, PrincipalKind, TaskKey
from taskgate.store.principals import principal_from_json, principal_to_json

texts = st.text(max_size=10)
attributes = st.dictionaries(
    texts, texts | st.integers(-(2**53), 2**53) | st.booleans() | st.lists(texts, max_size=3).map(tuple), max_size=4
)
attempts = st.none() | st.builds(
    Attempt,
    texts,
    st.builds(TaskKey, texts, texts, texts, texts, st.integers(-1, 100)),
    st.integers(1, 99),
)


@given(
    st.builds(
        Principal, st.sampled_from(PrincipalKind), texts, texts, st.sampled_from(Assurance), texts, attributes, attempts
    )
)
def test_round_trip_is_exact(principal: Principal) -> None:
    stored = json.loads(json.dumps(principal_to_json(principal)))
    back = principal_from_json(stored)
    assert back == principal
    assert back.attribute_key == principal.attribute_key
    assert back.owner_key == principal.owner_key
