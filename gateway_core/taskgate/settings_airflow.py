"""One Airflow whose tasks the gateway knows: how it signs their tokens, and where its instances are looked up."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import Field, StringConstraints, model_validator

from taskgate.settings_values import Duration, SecretReference, Section, anchored_reference, is_loopback

_Name = Annotated[str, StringConstraints(min_length=1, max_length=250, pattern=r"^[^\x00-\x1f\x7f]+$")]


class AirflowSettings(Section):
    """An Airflow deployment. `url` is its API server. Exactly one of `public_key` (PEM), `jwks` (address or file) and
    `symmetric_key` (a reference) says what its task tokens are signed with; with the last, whoever can read the key can
    be any task, so it never yields more than `asserted`. `username` and `password`, or `token`, are the gateway's own
    account there."""

    source: _Name
    url: str = Field(pattern=r"^https?://[^/?#]+[^?#]*$")
    username: str | None = None
    password: SecretReference | None = None
    token: SecretReference | None = None
    public_key: Path | None = None
    jwks: str | None = None
    symmetric_key: SecretReference | None = None
    audience: str = "urn:airflow.apache.org:task"
    issuer: str | None = None
    ca_file: Path | None = None
    timeout: Duration = 10.0
    check_interval: Duration = 5.0
    lost_after: Duration = 600.0
    people: dict[_Name, _Name] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _whole(self) -> AirflowSettings:
        if sum(one is not None for one in (self.public_key, self.jwks, self.symmetric_key)) != 1:
            raise ValueError("give exactly one of public_key, jwks and symmetric_key")
        if (self.username is None) != (self.password is None):
            raise ValueError("username and password go together")
        if (self.username is None) == (self.token is None):
            raise ValueError("give either username and password, or token: the gateway's own account")
        for name, address in (("url", self.url), ("jwks", self.jwks)):
            if address and address.startswith("http://") and not is_loopback(urlsplit(address).hostname or ""):
                raise ValueError(f"{name}: http is for loopback addresses only")
        return self

    @property
    def jwks_is_remote(self) -> bool:
        return self.jwks is not None and self.jwks.startswith(("http://", "https://"))

    def anchored(self, folder: Path) -> AirflowSettings:
        """Relative paths start at `folder`."""
        jwks = self.jwks if self.jwks is None or self.jwks_is_remote else str(folder / self.jwks)
        references = {
            name: anchored_reference(value, folder)
            for name in ("password", "token", "symmetric_key")
            if (value := getattr(self, name)) is not None
        }
        paths = {name: folder / path for name in ("public_key", "ca_file") if (path := getattr(self, name))}
        return self.model_copy(update={"jwks": jwks, **references, **paths})
