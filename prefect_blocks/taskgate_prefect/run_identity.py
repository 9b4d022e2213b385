"""Who this process' flow run is to the gateway, where a worker of `taskgate_prefect.worker` has started it.

The worker gives the process a secret that works once. Whichever process of the run on this machine needs it first
exchanges it; the others, started with the same secret by a task runner, take the token from a file of their user's
(`run_token_file`). Nobody else can use the secret unnoticed: a second exchange is refused, and ends the run's access.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from taskgate_prefect.run_environment import CA_FILE, RUN_SECRET, RUN_TOKEN, SOURCE, URL
from taskgate_prefect.run_faults import IncompleteEnvironment, RunSecretRefused, RunSecretUsed

if TYPE_CHECKING:
    from taskgate_prefect.run_token_file import RunTokenFile

_TIMEOUT = 5.0
_TRIES = 3


@dataclass(frozen=True, slots=True)
class RunAccess:
    """Where the gateway's control API is and the token by which the flow run proves itself there. Is not pickled: what
    a task runner sends to another machine, or a cache keeps, would hold the token."""

    url: str
    ca_file: str | None
    source: str
    token: str = field(repr=False)

    def __reduce__(self) -> str:
        raise TypeError("a flow run's token is not pickled: call run_access() where it is needed")


def run_access() -> RunAccess | None:
    """The flow run's access; None where no worker of ours started this process. Asks the gateway the first time, for
    seconds at worst: in async code call it in a thread.

    Afterwards the environment holds the token and no secret. Raises RunIdentityFault, and `taskgate.client`'s errors
    where the gateway cannot be reached: then nothing is spent, and the next call asks again.
    """
    # In this order: whoever exchanges sets the token before it takes the secret away.
    secret, token = os.environ.get(RUN_SECRET), os.environ.get(RUN_TOKEN)
    if token is None:
        if secret is None:
            return None
        token = _token(secret)
        os.environ[RUN_TOKEN] = token
    os.environ.pop(RUN_SECRET, None)
    return RunAccess(_given(URL), os.environ.get(CA_FILE) or None, _given(SOURCE), token)


def _token(secret: str) -> str:
    from taskgate_prefect.run_token_file import token_file

    with token_file(secret) as file:
        return file.token() or file.keep(_exchanged(secret, file))


def _exchanged(secret: str, file: RunTokenFile) -> str:
    """Raises RunSecretUsed, RunSecretRefused, and the client's own where the gateway could not be asked."""
    from taskgate.client import Client, RequestFault

    url, ca_file = _given(URL), os.environ.get(CA_FILE) or None
    asked_before = file.asked
    file.asked = True
    try:
        with Client(url, secret, ca_file=ca_file, timeout=_TIMEOUT, tries=_TRIES) as gateway:
            return gateway.exchange_run_secret().token.get_secret_value()
    except RequestFault as error:
        file.asked = asked_before
        if error.code == "run_secret_used":
            raise _used(asked_before) from error
        raise RunSecretRefused(
            f"the gateway refuses this flow run's one-time secret: {error}",
            hint="Run the flow again: its worker then registers it anew.",
        ) from error


def _used(asked_before: bool) -> RunSecretUsed:
    who = "somebody else, outside this run's processes on this machine, has used it"
    if asked_before:
        who = "a process of this run died while it was exchanging it, or somebody else has used it"
    return RunSecretUsed(
        f"this flow run's one-time secret was used before: {who}; the gateway has revoked all that the run was given",
        hint="Look into the gateway's log for who used it, then run the flow again.",
    )


def _given(name: str) -> str:
    value = os.environ.get(name)
    if not value:
        raise IncompleteEnvironment(
            f"this flow run has an identity for Taskgate, but no {name} in its environment",
            hint="The worker sets it: neither job variables nor the flow may take it away.",
        )
    return value
