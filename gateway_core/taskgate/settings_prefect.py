"""One Prefect whose flow runs the gateway knows: where it is asked about them, and with which account."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import Field, StringConstraints, model_validator

from taskgate.settings_values import Duration, SecretReference, Section, anchored_reference, is_loopback

_Name = Annotated[str, StringConstraints(min_length=1, max_length=250, pattern=r"^[^\x00-\x1f\x7f]+$")]


_Source = Annotated[str, StringConstraints(min_length=1, max_length=250, pattern=r"^[^\x00-\x1f\x7f/]+$")]


class PrefectSettings(Section):
    """A Prefect server, or a workspace of Prefect Cloud.

    `source` has no slash: a flow run is named by it, its flow and its id, with slashes between, and no two may read the
    same. `url` is its API (PREFECT_API_URL), with `/api` at the end. `api_key` (Cloud) or `auth_string` (a server's
    PREFECT_SERVER_API_AUTH_STRING) is the gateway's own account, where it needs one. `secret_ttl`: how long a flow
    run's one-time secret waits for its process to start. `recorded_within`: how long Prefect may take to record a task
    run that has begun. `resume`: resume the flow run that waits for an approval once it is decided; `events`: tell
    Prefect's events what is asked and decided."""

    source: _Source
    url: str = Field(pattern=r"^https?://[^/?#]+[^?#]*$")
    api_key: SecretReference | None = None
    auth_string: SecretReference | None = None
    ca_file: Path | None = None
    timeout: Duration = 10.0
    check_interval: Duration = 5.0
    lost_after: Duration = 600.0
    secret_ttl: Duration = 3600.0
    recorded_within: Annotated[Duration, Field(le=60)] = 10.0
    resume: bool = True
    events: bool = True
    people: dict[_Name, _Name] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _whole(self) -> PrefectSettings:
        if self.api_key is not None and self.auth_string is not None:
            raise ValueError("give api_key (Prefect Cloud) or auth_string (a Prefect server), not both")
        if "@" in urlsplit(self.url).netloc:
            raise ValueError("url: the account goes into api_key or auth_string, not into the address")
        if self.url.startswith("http://") and not is_loopback(urlsplit(self.url).hostname or ""):
            raise ValueError("url: http is for loopback addresses only")
        return self

    def anchored(self, folder: Path) -> PrefectSettings:
        """Relative paths start at `folder`."""
        references = {
            name: anchored_reference(value, folder)
            for name in ("api_key", "auth_string")
            if (value := getattr(self, name)) is not None
        }
        trust = {"ca_file": folder / self.ca_file} if self.ca_file else {}
        return self.model_copy(update={**references, **trust})
