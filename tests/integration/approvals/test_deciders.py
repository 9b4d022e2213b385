from __future__ import annotations

from dataclasses import replace

from taskgate.domain import PrincipalKind
from taskgate.identity.scopes import Scope
from tests.integration.approvals.setting import TERMS, Gateway, draft, task


async def test_nobody_of_the_group_has_a_key_that_decides(gateway: Gateway) -> None:
    approval = await gateway.approvals.request(draft())
    no_key = {approval.id: "no live key with the scope approvals:decide is of group:dba"}
    assert await gateway.approvals.nobody_may([approval]) == no_key
    await gateway.person("sam", groups=["web"])
    await gateway.person("reader", scopes=[Scope.APPROVALS_READ])
    await gateway.keys.create(PrincipalKind.SERVICE, "bot", [Scope.ADMIN], ["dba"], created_by="test")
    assert await gateway.approvals.nobody_may([approval]) == no_key
    dana = await gateway.person("dana")
    assert await gateway.approvals.nobody_may([approval]) == {}
    await gateway.keys.revoke(dana.id, "test", "left")
    assert await gateway.approvals.nobody_may([approval]) == no_key


async def test_everybody_stands_behind_the_request(gateway: Gateway) -> None:
    await gateway.person("alice", aliases=["alice@example.com"])
    mine = await gateway.approvals.request(draft(principal=task(triggering_user="alice@example.com")))
    free = await gateway.approvals.request(draft("e" * 64))
    named = replace(TERMS, approvers=("user:alice", "group:dba"))
    both = await gateway.approvals.request(draft("f" * 64, task(triggering_user="Alice"), terms=named))
    assert await gateway.approvals.nobody_may([mine, free, both]) == {
        mine.id: "everybody of group:dba stands behind the request",
        both.id: "everybody of user:alice or group:dba stands behind the request",
    }
    allowed = replace(TERMS, allow_requester=True)
    own = await gateway.approvals.request(draft("a" * 64, task(triggering_user="alice"), terms=allowed))
    assert await gateway.approvals.nobody_may([own]) == {}
    await gateway.person("erin")
    assert await gateway.approvals.nobody_may([mine, both]) == {}


async def test_what_is_decided_needs_nobody(gateway: Gateway) -> None:
    dana = await gateway.person("dana")
    approval = await gateway.approvals.request(draft())
    denied = await gateway.approvals.decide(approval.id, dana.id, False)
    await gateway.keys.revoke(dana.id, "test", "left")
    assert await gateway.approvals.nobody_may([denied]) == {}
