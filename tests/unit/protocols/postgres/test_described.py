"""A description that is met again under the same plan means the same; under another plan, or asked otherwise, not."""

from __future__ import annotations

import pytest

from taskgate.domain import MaskKind, MaskRule
from taskgate.errors import MaskingFault, TargetFault
from taskgate.masking.plan import MaskPlan
from taskgate.protocols.postgres.backend import data_row, decode_row_description, row_description
from taskgate.protocols.postgres.described import _LARGEST, described
from taskgate.protocols.postgres.fields import Field

REDACT = MaskRule("masks[0]", MaskKind.REDACT)
SSN = row_description((Field(b"ssn", 7, 1, 25, -1, -1, 0), Field(b"n", 7, 2, 23, 4, -1, 0)))
MASKED = MaskPlan(active=True, positions=(REDACT, None))
PLAIN = MaskPlan(active=True, positions=(None, None))


def test_the_same_again_is_worked_out_once() -> None:
    assert described(MASKED, SSN, None) is described(MASKED, bytes(bytearray(SSN)), None)


def test_an_equal_plan_is_another_plan() -> None:
    twin = MaskPlan(active=True, positions=(REDACT, None))
    assert described(MASKED, SSN, None) is not described(twin, SSN, None)


def test_what_the_client_asked_for_tells_answers_apart() -> None:
    text, binary = described(MASKED, SSN, ()), described(MASKED, SSN, (1,))
    assert text.answer
    assert binary.answer
    assert [field.format for field in decode_row_description(text.answer, 0, len(text.answer))] == [0, 0]
    assert [field.format for field in decode_row_description(binary.answer, 0, len(binary.answer))] == [1, 1]


def test_an_unchanged_description_passes_as_it_is() -> None:
    assert described(PLAIN, SSN, None).answer is None
    assert described(PLAIN, SSN, ()).answer is None
    assert described(PLAIN, SSN, (1,)).answer is not None


def test_rewriters_of_one_description_count_apart() -> None:
    masker = described(MASKED, SSN, None).masker
    one, other = masker.rewriter((0, 0)), masker.rewriter((0, 0))
    assert one.rewrite(data_row((b"123-45-6789", b"1"))) == data_row((b"[redacted]", b"1"))
    assert (one.counts, other.counts) == ({"masks[0]": 1}, {})


def test_rows_that_are_not_as_described_are_caught_where_nothing_is_masked() -> None:
    rewriter = described(PLAIN, SSN, None).masker.rewriter((0, 0))
    with pytest.raises(TargetFault):
        rewriter.rewrite(data_row((b"1",)))


def test_faults_are_not_remembered_as_answers() -> None:
    for _ in range(2):
        with pytest.raises(TargetFault):
            described(PLAIN, SSN[:-1], None)
        with pytest.raises(MaskingFault):
            described(MaskPlan(active=True, positions=(None,)), SSN, None)


def test_a_large_description_is_not_kept() -> None:
    large = row_description((Field(b"n" * _LARGEST, 0, 0, 25, -1, -1, 0),))
    plan = MaskPlan(active=True)
    assert described(plan, large, None) is not described(plan, large, None)
