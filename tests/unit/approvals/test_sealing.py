from __future__ import annotations

import pytest

from taskgate.approvals.sealing import ParameterSeal
from taskgate.domain import Parameter
from taskgate.errors import GatewayFault

PARAMETERS = (Parameter(25, 0, b"canary"), Parameter(23, 1, b"\x00\xff"), Parameter(25, 0, None), Parameter(25, 0, b""))
SEAL = ParameterSeal(bytes(32))


def test_round_trip_hides_the_values_and_never_repeats() -> None:
    sealed = SEAL.seal("apr_1", "d", PARAMETERS)
    assert SEAL.open("apr_1", "d", sealed) == PARAMETERS
    assert b"canary" not in sealed
    assert SEAL.seal("apr_1", "d", PARAMETERS) != sealed
    assert SEAL.open("apr_1", "d", SEAL.seal("apr_1", "d", ())) == ()


def test_opens_for_its_approval_and_key_only() -> None:
    sealed = SEAL.seal("apr_1", "d", PARAMETERS)
    for seal, approval, digest in (
        (SEAL, "apr_2", "d"),
        (SEAL, "apr_1", "e"),
        (ParameterSeal(b"1" * 32), "apr_1", "d"),
    ):
        with pytest.raises(GatewayFault) as refused:
            seal.open(approval, digest, sealed)
        assert "canary" not in str(refused.value)


def test_every_changed_or_missing_byte_is_noticed() -> None:
    sealed = SEAL.seal("apr_1", "d", PARAMETERS)
    for position in range(len(sealed)):
        changed = bytearray(sealed)
        changed[position] ^= 1
        with pytest.raises(GatewayFault):
            SEAL.open("apr_1", "d", bytes(changed))
    for length in range(len(sealed)):
        with pytest.raises(GatewayFault):
            SEAL.open("apr_1", "d", sealed[:length])
