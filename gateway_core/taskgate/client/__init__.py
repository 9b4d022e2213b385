"""The light SDK of the control API: httpx and pydantic only, so that a worker installs nothing of the gateway.

from taskgate.client import Client, TaskClaim

with Client("https://gateway:8443") as gateway:   # key from TASKGATE_API_KEY or TASKGATE_API_KEY_FILE
    approval = gateway.wait_for_approval("apr_…", timeout=600)
"""

from taskgate.client.asynchronous import AsyncClient
from taskgate.client.calls import SessionFilter
from taskgate.client.connection import ConnectionSettings, ConnectionSettingsError
from taskgate.client.errors import (
    Conflict,
    InvalidRequest,
    NotAuthenticated,
    NotFound,
    NotPermitted,
    RequestFault,
    ServerError,
    ServiceFault,
    StillPending,
    TaskgateApiError,
    TooManyRequests,
    Unavailable,
    UnexpectedAnswer,
    Unreachable,
)
from taskgate.client.models import (
    AirflowDeferredTask,
    AirflowTaskToken,
    ApiKeyRequest,
    Approval,
    ApprovalEnded,
    CredentialRequest,
    ExplainPrincipal,
    ExplainRequest,
    IssuedCredential,
    PrefectRun,
    Problem,
    Record,
    RegisteredRun,
    RunToken,
    Session,
    Target,
    TaskClaim,
    WatchStarted,
)
from taskgate.client.sync import Client

__all__ = [
    "AirflowDeferredTask",
    "AirflowTaskToken",
    "ApiKeyRequest",
    "Approval",
    "ApprovalEnded",
    "AsyncClient",
    "Client",
    "Conflict",
    "ConnectionSettings",
    "ConnectionSettingsError",
    "CredentialRequest",
    "ExplainPrincipal",
    "ExplainRequest",
    "InvalidRequest",
    "IssuedCredential",
    "NotAuthenticated",
    "NotFound",
    "NotPermitted",
    "PrefectRun",
    "Problem",
    "Record",
    "RegisteredRun",
    "RequestFault",
    "RunToken",
    "ServerError",
    "ServiceFault",
    "Session",
    "SessionFilter",
    "StillPending",
    "Target",
    "TaskClaim",
    "TaskgateApiError",
    "TooManyRequests",
    "Unavailable",
    "UnexpectedAnswer",
    "Unreachable",
    "WatchStarted",
]
