"""A credential issued over the API: for a known target, by whoever has proven who it is for."""

from __future__ import annotations

from urllib.parse import quote

from taskgate.api import rendering
from taskgate.api.authentication import Caller
from taskgate.api.control_plane import ControlPlane
from taskgate.api.problems import ApiProblem
from taskgate.client import models
from taskgate.domain import Credential, Target
from taskgate.identity.orchestrators.proven import ProvenTask

_DSN_SCHEME = {"postgres": "postgresql"}


async def issue(
    plane: ControlPlane, caller: Caller, target_name: str, ttl: float | None, task: ProvenTask
) -> models.IssuedCredential:
    """Raises ApiProblem, NotProven where the attempt ended meanwhile. `ttl` in seconds; None: what is usual."""
    target = plane.targets.get(target_name)
    if target is None:
        raise ApiProblem(422, f"there is no target {target_name}", code="unknown_target")
    endpoint = plane.endpoints.get(target.protocol)
    if endpoint is None:
        raise ApiProblem(503, f"nothing listens for {target.protocol} here", code="no_listener")
    usual = plane.attempt_ttl if task.looked_after else plane.default_ttl
    credential, secret = await plane.credentials.issue(
        task.principal,
        target.name,
        usual if ttl is None else ttl,
        caller.label,
        confined_until=task.confined_until,
        registration=task.registration,
    )
    return _issued(credential, secret, target, *endpoint)


def _issued(credential: Credential, secret: str, target: Target, host: str, port: int) -> models.IssuedCredential:
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    scheme = _DSN_SCHEME.get(target.protocol, target.protocol)
    return models.IssuedCredential.model_validate(
        {
            "id": credential.id,
            "user": credential.id,
            "password": secret,
            "target": target.name,
            "protocol": target.protocol,
            "host": host,
            "port": port,
            "database": target.database,
            "dsn": f"{scheme}://{credential.id}:{secret}@{address}/{quote(target.database, safe='')}",
            "principal": rendering.principal(credential.principal),
            "issued_at": credential.issued_at,
            "expires_at": credential.expires_at,
            "confined_until": credential.confined_until,
        }
    )
