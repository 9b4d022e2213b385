"""The core's values as the API shows them. What is not copied here is not shown: no verifier, no secret's reference."""

from __future__ import annotations

from collections.abc import Sequence

from taskgate import domain
from taskgate.client import models
from taskgate.identity.api_keys import ApiKey
from taskgate.policy.explain import Explanation
from taskgate.recording.findings import Verification
from taskgate.recording.header import Record
from taskgate.store.sessions import PROCESS_DIED, IndexedSession


def principal(value: domain.Principal) -> models.Principal:
    attempt = None
    if value.attempt:
        task = value.attempt.task
        key = models.TaskKey(
            source=task.source,
            dag_id=task.dag_id,
            run_id=task.run_id,
            task_id=task.task_id,
            map_index=task.map_index,
        )
        attempt = models.Attempt(
            id=value.attempt.id,
            task=key,
            try_number=value.attempt.try_number,
            logical_date=value.attempt.logical_date or None,
            run_name=value.attempt.run_name or None,
        )
    return models.Principal(
        kind=value.kind,
        name=value.name,
        source=value.source,
        assurance=value.assurance,
        verified_by=value.verified_by,
        attributes=dict(value.attributes),
        attempt=attempt,
    )


def target(value: domain.Target, endpoint: tuple[str, int] | None) -> models.Target:
    return models.Target(
        name=value.name,
        protocol=value.protocol,
        database=value.database,
        host=value.host,
        port=value.port,
        labels=dict(value.labels),
        max_sessions=value.max_sessions,
        digest=value.digest(),
        gateway=models.Endpoint(host=endpoint[0], port=endpoint[1]) if endpoint else None,
    )


def credential(value: domain.Credential) -> models.Credential:
    return models.Credential(
        id=value.id,
        principal=principal(value.principal),
        target=value.target,
        issued_at=value.issued_at,
        expires_at=value.expires_at,
        issued_by=value.issued_by,
        revoked_at=value.revoked_at,
        confined_until=value.confined_until,
    )


def terms(value: domain.ApprovalTerms) -> models.ApprovalTerms:
    return models.ApprovalTerms(
        approvers=list(value.approvers),
        hold=value.hold,
        hold_in_transaction=value.hold_in_transaction,
        expires=value.expires,
        uses=value.uses,
        max_rows=value.max_rows,
        streams=value.streams,
        allow_requester=value.allow_requester,
        channels=list(value.channels),
    )


def environment(value: domain.Environment) -> models.Environment:
    return models.Environment(
        role=value.role,
        search_path=value.search_path,
        settings=list(value.settings),
        catalog_version=value.catalog_version,
    )


def approval(
    value: domain.Approval,
    *,
    url: str | None,
    may_decide: bool,
    may_not_because: str | None = None,
    nobody_may_because: str | None = None,
    outdated_because: str | None = None,
    used_in: Sequence[str] = (),
) -> models.Approval:
    return models.Approval(
        id=value.id,
        state=value.state,
        principal=principal(value.principal),
        target=value.target,
        session_id=value.session_id,
        text=value.text,
        pairs=list(value.pairs),
        rules=list(value.rules),
        terms=terms(value.terms),
        policy_version=value.policy_version,
        requested_at=value.requested_at,
        expires_at=value.expires_at,
        environment=environment(value.environment),
        estimate=None if value.estimate is None else dict(value.estimate),
        decided_by=value.decided_by,
        decided_at=value.decided_at,
        comment=value.comment,
        uses_left=value.uses_left,
        held=value.held,
        waits_until=value.waits_until,
        digest=value.digest,
        owner_key=value.owner_key,
        url=url,
        may_decide=may_decide,
        may_not_because=may_not_because,
        nobody_may_because=nobody_may_because,
        outdated_because=outdated_because,
        used_in=list(used_in),
    )


def session(value: IndexedSession, pairs: tuple[domain.Pair, ...] = ()) -> models.Session:
    state = "open" if value.closed_at is None else "lost" if value.closed_reason == PROCESS_DIED else "closed"
    return models.Session(
        id=value.id,
        principal=principal(value.principal),
        target=value.target,
        protocol=value.protocol,
        process_id=value.process_id,
        credential_id=value.credential_id,
        client_address=value.client_address,
        policy_version=value.policy_version,
        state=state,
        opened_at=value.opened_at,
        closed_at=value.closed_at,
        closed_reason=value.closed_reason,
        actions=value.counts.actions,
        refused=value.counts.refused,
        rows=value.counts.rows,
        masked=value.counts.masked,
        effects=[str(pair) for pair in pairs],
    )


def api_key(value: ApiKey) -> models.ApiKey:
    return models.ApiKey(
        id=value.id,
        kind="user" if value.kind is domain.PrincipalKind.USER else "service",
        name=value.name,
        scopes=sorted(value.scopes),
        groups=list(value.groups),
        aliases=list(value.aliases),
        created_at=value.created_at,
        created_by=value.created_by,
        last_used_at=value.last_used_at,
        expires_at=value.expires_at,
        revoked_at=value.revoked_at,
    )


def record(value: Record) -> models.Record:
    return models.Record(
        sequence=value.seq,
        kind=value.kind,
        at=value.at,
        content=value.content,
        hash=value.header.hash(),
        policy_version=value.header.policy,
    )


def verification(session_id: str, value: Verification) -> models.Verification:
    finding = value.sessions[0]
    problems = [finding.problem] if finding.problem else []
    return models.Verification(
        session_id=session_id,
        ok=value.ok,
        sealed=finding.sealed,
        records=finding.records,
        head=finding.head or None,
        checkpoint=finding.checkpoint,
        problems=[
            models.VerificationProblem(
                session_id=problem.session,
                sequence=problem.seq,
                message=f"{problem.place}: {problem.message}" if problem.place else problem.message,
            )
            for problem in (*problems, *value.problems)
        ],
        notes=list(value.notes),
    )


def explanation(
    value: Explanation, target: domain.Target, action: domain.Action, *, refusal: str | None, refused_by_mask: bool
) -> models.Explanation:
    """`refusal`: what refuses the action although rules let it pass."""
    decision = value.decision
    return models.Explanation(
        target=target.name,
        verdict=decision.verdict if refusal is None else domain.Verdict.DENY,
        reason=(refusal or decision.reason) or None,
        policy_version=value.policy_version,
        complete=action.complete,
        pairs=[str(pair) for pair in value.pairs],
        notes=[note for statement in action.facts for note in statement.notes if note],
        matches=[
            models.RuleMatch(rule=match.rule, verdict=match.verdict, reason=match.reason) for match in decision.matches
        ],
        considered=[
            models.RuleReport(
                rule=rule.rule,
                verdict=rule.verdict,
                place=rule.place,
                stage=rule.stage,
                why=rule.why,
                pairs=[str(pair) for pair in rule.pairs],
                refuses=rule.refuses,
            )
            for rule in value.rules
        ],
        uncovered=[str(pair) for pair in decision.uncovered],
        terms=terms(decision.terms) if decision.terms else None,
        masks=sorted(mask.mask for mask in value.masks if mask.applies and mask.kind != domain.MaskKind.NONE),
        considered_masks=[
            models.MaskReport(mask=mask.mask, kind=mask.kind, place=mask.place, applies=mask.applies, why=mask.why)
            for mask in value.masks
        ],
        columns=[
            models.MaskedColumn(column=name, kind=rule.kind, mask=rule.id) for name, rule in value.columns.items()
        ],
        refused_by_mask=refused_by_mask,
        row_bound=decision.row_bound,
        recording=decision.recording,
        cacheable=decision.cacheable,
        undecided=decision.undecided,
        wants_impact=decision.wants_impact,
    )
