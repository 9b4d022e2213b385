"""Terms as JSON and back."""

from __future__ import annotations

import json

from taskgate.approvals.rows import terms_from_json, terms_to_json
from taskgate.domain import ApprovalTerms


def test_terms_come_back_as_they_were() -> None:
    terms = ApprovalTerms(("group:dba",), hold=5.0, uses=3, max_rows=7, streams=True, channels=("airflow",))
    assert terms_from_json(json.loads(json.dumps(terms_to_json(terms)))) == terms


def test_terms_from_before_there_were_channels_have_none() -> None:
    stored = terms_to_json(ApprovalTerms(("group:dba",)))
    del stored["channels"]
    assert terms_from_json(stored) == ApprovalTerms(("group:dba",))
