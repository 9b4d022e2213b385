"""Who may decide: asked when somebody decides, and again when the grant is used, of the approver as they are then."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy.ext.asyncio import AsyncConnection

from taskgate.domain import ApprovalTerms, PrincipalKind
from taskgate.identity.api_keys import ApiKey, ApiKeys
from taskgate.identity.people import canonical, canonical_names, may_be_one_person
from taskgate.identity.person_aliases import with_aliases
from taskgate.identity.scopes import Scope


class Entitlement:
    """Approvers are known by their own API key. Another proof of identity is another way to look one up."""

    def __init__(self, api_keys: ApiKeys) -> None:
        self._api_keys = api_keys

    async def approver(self, connection: AsyncConnection, approver_id: str) -> ApiKey | None:
        """The approver as they are now; None where the key is revoked, expired or unknown."""
        return await self._api_keys.current(connection, approver_id)

    async def obstacle(
        self,
        connection: AsyncConnection,
        approver: ApiKey | None,
        terms: ApprovalTerms,
        parties: Collection[str],
        known_as: Collection[str] = (),
    ) -> str | None:
        """Why this approver may not decide, for people; None where they may. `parties` are canonical names of those who
        stand behind the request, `known_as` more names of the approver."""
        if approver is None:
            return "the approver's key is revoked, expired or unknown"
        if approver.kind is not PrincipalKind.USER:
            return "only a person's own key can decide"
        if not approver.permits(Scope.APPROVALS_DECIDE):
            return f"the key lacks the scope {Scope.APPROVALS_DECIDE}"
        if not is_among(approver, terms.approvers):
            return f"the rule asks for {' or '.join(terms.approvers)}"
        if not terms.allow_requester:
            own = await with_aliases(connection, (approver.name, *approver.aliases, *known_as))
            if may_be_one_person(own, await with_aliases(connection, parties)):
                return "whoever stands behind a request cannot decide it"
        return None


def is_among(approver: ApiKey, entries: Collection[str]) -> bool:
    """Entries are `group:…` (exactly one of the key's groups) or `user:…` (the key's name or one of its aliases,
    whatever the case). Anything else means nobody."""
    names = canonical_names((approver.name, *approver.aliases))
    for entry in entries:
        kind, _, name = entry.partition(":")
        if kind == "group" and name in approver.groups:
            return True
        if kind == "user" and canonical(name) in names:
            return True
    return False
