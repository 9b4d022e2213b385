from __future__ import annotations

import pytest

from taskgate.approvals.requests import Approvals
from taskgate.domain import PrincipalKind
from taskgate.errors import ClientFault, GatewayFault, PolicyRefusal
from taskgate.identity.scopes import Scope
from taskgate.store.ids import IdPrefix, new_id
from tests.integration.approvals.setting import PARAMETERS, Gateway, draft, task


async def test_before_the_decision_only_its_approvers_see_parameters(gateway: Gateway) -> None:
    asked = draft(principal=task(triggering_user="carol"))
    approval = await gateway.approvals.request(asked)
    alice = await gateway.person("alice")
    assert await gateway.approvals.parameters(approval.id, alice.id) == PARAMETERS
    outsider = await gateway.person("mallory", groups=())
    auditor = await gateway.person("auditor", groups=(), scopes=(Scope.RECORDS_READ,))
    requester = await gateway.person("carol")
    admin, _ = await gateway.keys.create(PrincipalKind.SERVICE, "ops", [Scope.ADMIN], ["dba"], created_by="test")
    for viewer in (outsider, auditor, requester, admin):
        with pytest.raises(PolicyRefusal):
            await gateway.approvals.parameters(approval.id, viewer.id)
    await gateway.approvals.decide(approval.id, alice.id, False)
    assert await gateway.approvals.parameters(approval.id, auditor.id) == PARAMETERS
    assert await gateway.approvals.parameters(approval.id, alice.id) == PARAMETERS
    for viewer in (outsider, requester):
        with pytest.raises(PolicyRefusal):
            await gateway.approvals.parameters(approval.id, viewer.id)


async def test_every_view_is_recorded_and_refused_ones_show_nothing(gateway: Gateway) -> None:
    approval = await gateway.approvals.request(draft())
    alice, mallory = await gateway.person("alice"), await gateway.person("mallory", groups=())
    for _ in range(2):
        await gateway.approvals.parameters(approval.id, alice.id)
    with pytest.raises(PolicyRefusal):
        await gateway.approvals.parameters(approval.id, mallory.id)
    views = await gateway.approvals.views(approval.id)
    assert [(view.viewer_id, view.viewer) for view in views] == [(alice.id, "user:taskgate:alice")] * 2
    assert views[0].viewed_at <= views[1].viewed_at


async def test_revoked_key_sees_nothing(gateway: Gateway) -> None:
    approval = await gateway.approvals.request(draft())
    alice = await gateway.person("alice", scopes=tuple(Scope))
    await gateway.keys.revoke(alice.id, "admin", "left")
    with pytest.raises(PolicyRefusal):
        await gateway.approvals.parameters(approval.id, alice.id)
    with pytest.raises(ClientFault):
        await gateway.approvals.parameters(new_id(IdPrefix.APPROVAL), alice.id)


async def test_another_approval_key_opens_nothing_and_says_why(gateway: Gateway) -> None:
    approval = await gateway.approvals.request(draft())
    alice = await gateway.person("alice")
    stranger: Approvals = Gateway(gateway.database).approvals
    with pytest.raises(GatewayFault, match=approval.id):
        await stranger.parameters(approval.id, alice.id)
    assert await gateway.approvals.views(approval.id) == ()


async def test_obstacles_say_why_not(gateway: Gateway) -> None:
    mine = await gateway.approvals.request(draft(principal=task(triggering_user="alice")))
    free = await gateway.approvals.request(draft("e" * 64))
    alice = await gateway.person("alice")
    found = await gateway.approvals.obstacles(alice.id, [mine, free])
    assert set(found) == {mine.id}
    assert "stands behind" in found[mine.id]
    nobody = await gateway.approvals.obstacles(new_id(IdPrefix.API_KEY), [mine, free])
    assert set(nobody) == {mine.id, free.id}
