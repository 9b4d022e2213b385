"""The block that says where Taskgate is and, where no worker of Taskgate's starts the runs, lets them in."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any, ClassVar

from prefect.blocks.abstract import CredentialsBlock
from pydantic import Field, SecretStr

from taskgate.client import AsyncClient, Client
from taskgate_prefect.faults import GatewayNotConfigured
from taskgate_prefect.presentation import DOCUMENTATION_URL, LOGO_URL
from taskgate_prefect.run_identity import run_access


@dataclass(frozen=True, slots=True)
class GatewayAccess:
    """How this process asks the gateway for credentials. `run_token`: the key is the flow run's own. Not pickled."""

    url: str
    ca_file: str | None
    source: str
    key: SecretStr = field(repr=False)
    run_token: bool = False

    def client(self) -> Client:
        return Client(self.url, self.key.get_secret_value(), ca_file=self.ca_file)

    def async_client(self) -> AsyncClient:
        return AsyncClient(self.url, self.key.get_secret_value(), ca_file=self.ca_file)

    def __reduce__(self) -> str:
        raise TypeError("a way into the gateway is not pickled: ask the block for it where it is needed")


class TaskgateGateway(CredentialsBlock):
    """
    Where a Taskgate gateway is, and the service key that vouches for flow runs there. Governed connectors hold one.

    Runs that Taskgate's own worker starts bring their identity along: for them the block needs no key, and one that it
    has is not used.

    The key leaves this process in no pickle: a task that runs elsewhere loads the saved block by its name, and has none
    where the block was never saved.

    Attributes:
        url: Address of the gateway's control API.
        source: What the gateway calls this Prefect.
        api_key: Service key with the scope `credentials:issue`.
        ca_file: Certificates to trust in place of the system's.
        dashboard_url: Where people look at sessions.

    Example:
        Save one:
        ```python
        from taskgate_prefect import TaskgateGateway

        TaskgateGateway(url="https://taskgate.example:8400", source="prod-prefect", api_key="tgk_...").save("taskgate")
        ```

        Load it, and look at the targets that this key may ask for:
        ```python
        from taskgate_prefect import TaskgateGateway

        gateway = TaskgateGateway.load("BLOCK_NAME")
        with gateway.get_client() as client:
            print([target.name for target in client.targets()])
        ```
    """

    _block_type_name: ClassVar[str | None] = "Taskgate Gateway"
    _block_type_slug: ClassVar[str | None] = "taskgate-gateway"
    _logo_url = LOGO_URL
    _documentation_url = DOCUMENTATION_URL

    url: str | None = Field(
        default=None,
        title="URL",
        description="Address of the gateway's control API. Not needed in runs that Taskgate's worker starts.",
        examples=["https://taskgate.example:8400"],
    )
    source: str | None = Field(
        default=None,
        title="Source",
        description="What the gateway calls this Prefect in its settings. Not needed in runs of Taskgate's worker.",
        examples=["prod-prefect"],
    )
    api_key: SecretStr | None = Field(
        default=None,
        title="Service Key",
        description=(
            "Service key that vouches for flow runs (scope credentials:issue); they count as asserted. Leave it empty "
            "where Taskgate's worker starts the runs."
        ),
    )
    ca_file: str | None = Field(
        default=None,
        title="Certificate File",
        description="Path of certificates to trust in place of the system's, for the control API and for targets.",
    )
    dashboard_url: str | None = Field(
        default=None,
        title="Dashboard URL",
        description="Address of Taskgate's dashboard: lines of the run's log and artifacts link to it.",
        examples=["https://taskgate.example:8501"],
    )

    async def aaccess(self) -> GatewayAccess:
        """As `access`."""
        return await asyncio.to_thread(self.access)

    def access(self) -> GatewayAccess:
        """The flow run's own access where Taskgate's worker started it, else the service key. May ask the gateway, or
        Prefect for a saved block. Raises GatewayNotConfigured, RunIdentityFault, TaskgateApiError."""
        if (run := run_access()) is not None:
            if self.source and self.source != run.source:
                raise GatewayNotConfigured(
                    f"This run was started by Taskgate's worker for {run.source!r}, and the block is for "
                    f"{self.source!r}: a run is known at one gateway only.",
                    hint="Leave the block's source empty, or run the flow in the other work pool.",
                )
            return GatewayAccess(run.url, run.ca_file or self.ca_file, run.source, SecretStr(run.token), run_token=True)
        key = self.api_key or self._saved_key()
        missing = [name for name, value in (("url", self.url), ("source", self.source), ("api_key", key)) if not value]
        if not (self.url and self.source and key):
            raise GatewayNotConfigured(
                f"The Taskgate block says no {' and no '.join(missing)}, and no worker of Taskgate's has started this "
                "run.",
                hint="Fill the block in and save it, or run the deployment in a work pool of type `taskgate-process`.",
            )
        return GatewayAccess(self.url, self.ca_file, self.source, key)

    def _saved_key(self) -> SecretStr | None:
        """The key of the saved block, where this one came out of a pickle."""
        if not self._block_document_name or self._block_document_id is None or not self._came_from_pickle:
            return None
        saved: Any = type(self).load(self._block_document_name, _sync=True)  # type: ignore[call-arg]
        self.api_key = saved.api_key
        return self.api_key

    _came_from_pickle: bool = False

    def get_client(self, *_: Any, **__: Any) -> Client:
        """The control API, as this run or by the service key. Use it as a context manager, or close it."""
        return self.access().client()

    def get_async_client(self) -> AsyncClient:
        """As `get_client`, for asynchronous code."""
        return self.access().async_client()

    def __getstate__(self) -> dict[Any, Any]:
        state = dict(super().__getstate__())
        state["__dict__"] = {**state["__dict__"], "api_key": None}
        state["__pydantic_private__"] = {**(state["__pydantic_private__"] or {}), "_came_from_pickle": True}
        return state
