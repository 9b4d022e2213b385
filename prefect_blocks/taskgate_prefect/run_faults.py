"""Why a process of a flow run cannot have the identity that its worker gave the run."""

from __future__ import annotations

from taskgate.errors import TaskgateError


class RunIdentityFault(TaskgateError):
    """The flow run has an identity, and this process cannot have it. Says what to do."""


class IncompleteEnvironment(RunIdentityFault):
    """The process has a secret or a token, but not all that the worker puts beside it."""


class RunSecretUsed(RunIdentityFault):
    """The one-time secret had been used when this process came: all that the run was given is revoked."""


class RunSecretRefused(RunIdentityFault):
    """The gateway does not take the one-time secret: it has expired, the run is over or was registered anew."""


class RunFilesUnsafe(RunIdentityFault):
    """The folder or a file in it is not this user's alone, or not what was left there: nothing is read from it and
    nothing put there."""


class RunFilesBusy(RunIdentityFault):
    """Another process of the run has been exchanging the secret for longer than that can take."""
