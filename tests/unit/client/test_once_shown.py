"""Answers that hold a secret which is shown once."""

from __future__ import annotations

import copy
import pickle

import cloudpickle
import pytest

from taskgate.client.models import RunToken


def test_no_result_or_cache_keeps_one() -> None:
    token = RunToken.model_validate({"token": "tgr_1.canary", "source": "prod", "flow_run_id": "r"})
    for dumps in (pickle.dumps, cloudpickle.dumps):
        with pytest.raises(TypeError, match="RunToken is not pickled") as caught:
            dumps(token)
        assert "canary" not in str(caught.value)
    assert copy.copy(token).token.get_secret_value() == "tgr_1.canary"
    assert token.model_copy().source == "prod"
