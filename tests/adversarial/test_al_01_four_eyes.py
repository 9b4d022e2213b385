"""AL-01 at the approvals service: nobody approves what they stand behind, and nobody approves who may not any more."""

from __future__ import annotations

from dataclasses import replace

import pytest

from taskgate.domain import ApprovalState, Assurance, Principal, PrincipalKind
from taskgate.errors import PolicyRefusal
from taskgate.identity.api_keys import ApiKey
from taskgate.identity.credentials import Credentials
from taskgate.identity.person_aliases import PersonAliases
from taskgate.identity.scopes import Scope
from taskgate.store.database import Database
from taskgate.store.ids import IdPrefix, new_id
from taskgate.store.sessions import SessionIndex
from tests.integration.approvals.conftest import gateway
from tests.integration.approvals.setting import TERMS, Gateway, draft, task
from tests.integration.store.databases import database, migrated_file, migrated_template, store_url

__all__ = ["database", "gateway", "migrated_file", "migrated_template", "store_url"]

DIGEST = "d" * 64


def person(name: str, source: str = "okta") -> Principal:
    return Principal(PrincipalKind.USER, name, source, Assurance.VERIFIED, "oidc", {"groups": ("dba",)})


async def refused(gateway: Gateway, principal: Principal, approver: ApiKey, **changes: object) -> str:
    """The request stands as it was, and why."""
    approval = await gateway.approvals.request(draft(principal=principal, **changes))
    with pytest.raises(PolicyRefusal) as refusal:
        await gateway.approvals.decide(approval.id, approver.id, True)
    assert approval.id in await gateway.approvals.obstacles(approver.id, [approval])
    after = await gateway.approvals.get(approval.id)
    assert after is not None
    assert after.state is ApprovalState.PENDING
    assert await gateway.approvals.use_grant(approval.digest, principal.owner_key) is None
    return str(refusal.value)


@pytest.mark.parametrize("name", ["alice", "Alice", " ALICE", "ａｌｉｃｅ", "user:alice"])
async def test_al_01_requester_cannot_approve_whatever_the_writing(gateway: Gateway, name: str) -> None:
    assert "stands behind" in await refused(gateway, person(name), await gateway.person("alice"))


@pytest.mark.parametrize("attribute", ["triggering_user", "bundle_owners", "aliases"])
async def test_al_01_people_behind_a_task_cannot_approve(gateway: Gateway, attribute: str) -> None:
    alice = await gateway.person("alice")
    assert "stands behind" in await refused(gateway, task(**{attribute: ("x", "alice")}), alice)


async def test_al_01_same_human_through_two_identities(gateway: Gateway) -> None:
    by_mail = await gateway.person("alice@example.com")
    by_alias = await gateway.person("al", aliases=["Alice@Example.com"])
    for approver in (by_mail, by_alias):
        await refused(gateway, task(triggering_user="alice"), approver)
        await refused(gateway, task("ti-2", triggering_user="alice@example.com"), approver)
    second_key = await gateway.person("alice")
    await refused(gateway, person("alice@example.com"), second_key, digest="e" * 64)


async def test_al_01_linked_alias_is_the_same_human_from_either_side(gateway: Gateway) -> None:
    links = PersonAliases(gateway.database)
    await links.link("airflow-3141", "alice", "admin")
    await links.link("a.smith", "alice", "admin")
    await refused(gateway, task(triggering_user="airflow-3141"), await gateway.person("alice"))
    await refused(gateway, task(triggering_user="airflow-3141"), await gateway.person("A.Smith"))
    await refused(gateway, person("alice"), await gateway.person("airflow-3141"), digest="e" * 64)
    assert await links.unlink("a.smith")
    approval = await gateway.approvals.request(draft("f" * 64, task("ti-3", triggering_user="airflow-3141")))
    free = await gateway.person("a.smith")
    assert (await gateway.approvals.decide(approval.id, free.id, True)).state is ApprovalState.APPROVED


async def test_al_01_service_keys_and_tasks_never_approve(gateway: Gateway) -> None:
    bot, _ = await gateway.keys.create(PrincipalKind.SERVICE, "bot", [Scope.ADMIN], ["dba"], created_by="test")
    assert "person" in await refused(gateway, task(), bot)


async def test_al_01_issuing_a_credential_for_another_is_no_way_around(gateway: Gateway) -> None:
    """Alice may issue credentials and decide: she cannot ask in Bob's name and say yes in her own."""
    alice = await gateway.person("alice")
    bob = person("bob")
    credential, _ = await Credentials(gateway.database, gateway.signals).issue(
        bob, "orders-db", 600, f"user:alice ({alice.id})"
    )
    session_id = new_id(IdPrefix.SESSION)
    await SessionIndex(gateway.database, "gwp_1").opened(
        session_id, bob, "orders-db", protocol="postgres", client_address="", policy_version="p1",
        credential_id=credential.id,
    )  # fmt: skip
    assert "stands behind" in await refused(gateway, bob, alice, session_id=session_id)
    approval = await gateway.approvals.request(draft(principal=bob, session_id=session_id))
    carol = await gateway.person("carol")
    assert (await gateway.approvals.decide(approval.id, carol.id, True)).state is ApprovalState.APPROVED


@pytest.mark.parametrize("names", [("alice", "bob"), ("bob", "alice")])
async def test_al_01_asking_again_in_another_name_hides_nobody(gateway: Gateway, names: tuple[str, str]) -> None:
    """Two runs of one task key, one triggered by Alice: the request that both share is hers too."""
    alice = await gateway.person("alice")
    first, second = (task(f"ti-{name}", triggering_user=name) for name in names)
    await gateway.approvals.request(draft(principal=first))
    await refused(gateway, second, alice)


@pytest.mark.parametrize(
    ("groups", "scopes"),
    [((), (Scope.APPROVALS_DECIDE,)), (("dba-readers", "DBA"), (Scope.APPROVALS_DECIDE,)), (("dba",), (Scope.ADMIN,))],
)
async def test_al_01_who_is_not_entitled_cannot_approve(
    gateway: Gateway, groups: tuple[str, ...], scopes: tuple[Scope, ...]
) -> None:
    await refused(gateway, task(), await gateway.person("mallory", groups, scopes))


async def test_al_01_removed_approver_cannot_approve(gateway: Gateway) -> None:
    revoked, regrouped = await gateway.person("alice"), await gateway.person("bob")
    await gateway.keys.revoke(revoked.id, "admin", "left")
    await gateway.keys.set_groups(regrouped.id, [])
    for approver in (revoked, regrouped):
        await refused(gateway, task(), approver)


async def _granted(gateway: Gateway, approver: ApiKey, **changes: object) -> str:
    approval = await gateway.approvals.request(draft(**changes))
    await gateway.approvals.decide(approval.id, approver.id, True)
    return approval.id


async def test_al_01_grant_is_void_once_its_approver_lost_the_role(gateway: Gateway) -> None:
    alice = await gateway.person("alice")
    approval_id = await _granted(gateway, alice)
    await gateway.keys.set_groups(alice.id, [])
    assert await gateway.approvals.use_grant(DIGEST, task().owner_key) is None
    void = await gateway.approvals.get(approval_id)
    assert void is not None
    assert (void.state, void.uses_left) == (ApprovalState.WITHDRAWN, 0)
    assert "void" in (void.comment or "")
    await gateway.keys.set_groups(alice.id, ["dba"])  # coming back does not bring the grant back
    assert await gateway.approvals.use_grant(DIGEST, task().owner_key) is None


async def test_al_01_grant_is_void_once_its_approver_left(gateway: Gateway) -> None:
    alice = await gateway.person("alice")
    await _granted(gateway, alice, terms=replace(TERMS, uses=5))
    assert await gateway.approvals.use_grant(DIGEST, task().owner_key) is not None
    await gateway.keys.revoke(alice.id, "admin", "left")
    assert await gateway.approvals.use_grant(DIGEST, task().owner_key) is None


async def test_al_01_grant_is_void_once_its_approver_is_found_to_be_the_requester(gateway: Gateway) -> None:
    alice = await gateway.person("alice")
    await _granted(gateway, alice, principal=task(triggering_user="airflow-3141"))
    await PersonAliases(gateway.database).link("airflow-3141", "alice", "admin")
    assert await gateway.approvals.use_grant(DIGEST, task().owner_key) is None


async def test_al_01_void_grant_does_not_stand_in_the_way_of_a_good_one(gateway: Gateway, store_url: str) -> None:
    """Two gateways can have two grants for one digest; the void one is skipped, not stumbled over."""
    alice, bob = await gateway.person("alice"), await gateway.person("bob")
    first = await _granted(gateway, alice, terms=replace(TERMS, uses=2))
    await gateway.approvals.use_grant(DIGEST, task().owner_key)
    await gateway.keys.revoke(alice.id, "admin", "left")
    assert await gateway.approvals.use_grant(DIGEST, task().owner_key) is None
    second = await _granted(gateway, bob)
    assert second != first
    used = await gateway.approvals.use_grant(DIGEST, task().owner_key)
    assert used is not None
    assert used.id == second


async def test_al_01_policy_may_switch_four_eyes_off_and_only_policy(gateway: Gateway, database: Database) -> None:
    alice = await gateway.person("alice")
    approval = await gateway.approvals.request(
        draft(principal=person("alice"), terms=replace(TERMS, allow_requester=True))
    )
    assert (await gateway.approvals.decide(approval.id, alice.id, True)).state is ApprovalState.APPROVED
    assert await gateway.approvals.use_grant(DIGEST, person("alice").owner_key) is not None
