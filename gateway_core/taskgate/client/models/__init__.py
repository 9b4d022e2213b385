"""What the control API sends and takes, as typed values: the server answers with these, the client parses them.

They import nothing but pydantic and `taskgate.domain`. Times are timezone-aware UTC, durations seconds, sizes bytes.
Answers ignore fields they do not know (a newer server may say more); requests refuse them.
"""

from taskgate.client.models.approvals import (
    Approval,
    ApprovalParameter,
    ApprovalParameters,
    ApprovalTerms,
    Decision,
    Environment,
)
from taskgate.client.models.base import (
    Answer,
    AttributeValue,
    FieldProblem,
    Item,
    Name,
    Page,
    Problem,
    Readiness,
    ReadinessCheck,
    Reason,
    Request,
)
from taskgate.client.models.credentials import (
    Credential,
    CredentialRequest,
    Endpoint,
    IssuedCredential,
    Revoked,
    Target,
    TaskClaim,
)
from taskgate.client.models.policy import (
    ExplainPrincipal,
    ExplainRequest,
    Explanation,
    PolicySource,
    PolicySources,
    PolicyStatus,
    RuleMatch,
    RuleReport,
)
from taskgate.client.models.principals import (
    ApiKey,
    ApiKeyRequest,
    Attempt,
    CreatedApiKey,
    Principal,
    TaskKey,
    WhoAmI,
)
from taskgate.client.models.sessions import (
    LiveSession,
    Record,
    Session,
    Verification,
    VerificationProblem,
)

__all__ = [
    "Answer",
    "ApiKey",
    "ApiKeyRequest",
    "Approval",
    "ApprovalParameter",
    "ApprovalParameters",
    "ApprovalTerms",
    "Attempt",
    "AttributeValue",
    "CreatedApiKey",
    "Credential",
    "CredentialRequest",
    "Decision",
    "Endpoint",
    "Environment",
    "ExplainPrincipal",
    "ExplainRequest",
    "Explanation",
    "FieldProblem",
    "IssuedCredential",
    "Item",
    "LiveSession",
    "Name",
    "Page",
    "PolicySource",
    "PolicySources",
    "PolicyStatus",
    "Principal",
    "Problem",
    "Readiness",
    "ReadinessCheck",
    "Reason",
    "Record",
    "Request",
    "Revoked",
    "RuleMatch",
    "RuleReport",
    "Session",
    "Target",
    "TaskClaim",
    "TaskKey",
    "Verification",
    "VerificationProblem",
    "WhoAmI",
]
