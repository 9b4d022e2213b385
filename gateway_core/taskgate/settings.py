"""The gateway's settings: one YAML file, overridden by `TASKGATE_*` environment variables.

`TASKGATE_API__PORT=8400` sets `api.port`: `__` goes one level down. Every problem is reported at once, each with its
place in the file or its variable (`settings_origin.py`). Relative paths are taken from the folder of the file.
docs/operations.md lists every setting.
"""

from __future__ import annotations

import ipaddress
import os
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BeforeValidator, Field, ValidationError, ValidationInfo, field_validator, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from taskgate.domain import Target, TlsMode
from taskgate.errors import SettingsError
from taskgate.settings_airflow import AirflowSettings
from taskgate.settings_origin import BELOW, PREFIX, Origins, Variables, unknown_variables
from taskgate.settings_prefect import PrefectSettings
from taskgate.settings_values import (
    Duration,
    Port,
    SecretReference,
    Section,
    Size,
    anchored_reference,
    is_loopback,
    seconds,
)

_TARGET_NAME = r"^[a-z0-9][a-z0-9._-]{0,62}$"


def _from_here(host: str) -> str:
    """`host` in a URL; loopback for what stands for every address of this machine."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if address.version == 4:
        return "127.0.0.1" if address.is_unspecified else host
    return "[::1]" if address.is_unspecified else f"[{host}]"


class StoreSettings(Section):
    """`url` unset: SQLite in the data directory. `postgresql://…` for many replicas: `taskgate.store.address`."""

    url: str | None = None


class ApiSettings(Section):
    """The control API. Off loopback it needs a certificate."""

    host: str = "127.0.0.1"
    port: Port = 8400
    tls_cert: Path | None = None
    tls_key: Path | None = None

    @model_validator(mode="after")
    def _tls(self) -> ApiSettings:
        _check_tls(self.host, self.tls_cert, self.tls_key)
        return self


class PostgresSettings(Section):
    """The PostgreSQL listener. With a certificate TLS is offered; off loopback it is required."""

    host: str = "127.0.0.1"
    port: Port = 6432
    advertised_host: str | None = None  # what credentials tell clients to connect to; unset: `host`
    tls_cert: Path | None = None
    tls_key: Path | None = None
    require_tls: bool = False
    max_message: Size = 64 * 1024**2
    max_connections: int = Field(default=2000, gt=0)
    startup_timeout: Duration = 10.0

    @model_validator(mode="after")
    def _tls(self) -> PostgresSettings:
        _check_tls(self.host, self.tls_cert, self.tls_key)
        if self.require_tls and not self.tls_cert:
            raise ValueError("require_tls needs tls_cert and tls_key")
        return self


def _check_tls(host: str, cert: Path | None, key: Path | None) -> None:
    if (cert is None) != (key is None):
        raise ValueError("tls_cert and tls_key go together")
    if cert is None and not is_loopback(host):
        raise ValueError(f"listening on {host}, off loopback, needs tls_cert and tls_key")


class TargetSettings(Section):
    """A target. `secret` and `catalog_secret` name where a password comes from: `env:NAME` or `file:/path`."""

    name: str = Field(pattern=_TARGET_NAME)
    protocol: Literal["postgres"] = "postgres"
    host: str
    port: int = Field(default=5432, ge=1, le=65535)
    database: str
    user: str
    secret: SecretReference
    tls: TlsMode = TlsMode.VERIFY_FULL
    ca_file: Path | None = None
    catalog_user: str | None = None
    catalog_secret: SecretReference | None = None
    max_sessions: int = Field(default=100, gt=0)
    labels: dict[str, str] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _safe(self) -> TargetSettings:
        if self.tls is TlsMode.DISABLE and not is_loopback(self.host):
            raise ValueError(f"tls: disable is for loopback addresses only, {self.host} is not one")
        if (self.catalog_user is None) != (self.catalog_secret is None):
            raise ValueError("catalog_user and catalog_secret go together")
        return self

    def target(self) -> Target:
        fields = self.model_dump()
        fields["ca_file"] = str(self.ca_file) if self.ca_file else None
        return Target(**fields)


class CredentialSettings(Section):
    default_ttl: Duration = 3600.0
    max_ttl: Duration = 86400.0


class WebhookSettings(Section):
    """Where approval requests are announced. `secret` is a reference to the key that signs each delivery."""

    name: str
    url: str = Field(pattern=r"^https?://")
    secret: str


class NotifierSettings(Section):
    """Another way to announce them: `kind` is an entry point in the group `taskgate.notifiers`, made with `name` and
    `options`."""

    kind: str
    name: str
    options: dict[str, str] = Field(default_factory=dict)


class ApprovalSettings(Section):
    notifiers: list[NotifierSettings] = Field(default_factory=list)
    webhooks: list[WebhookSettings] = Field(default_factory=list)
    max_parked_per_target: int = Field(default=200, gt=0)


class RecordingSettings(Section):
    checkpoint_interval: Duration = 5.0
    sync_interval: Duration = 0.1
    segment_size: Size = 64 * 1024**2


_DAY = 86400.0
Age = Annotated[float, BeforeValidator(seconds), Field(ge=_DAY)]  # not less than a day: `30m` is thirty minutes


class RetentionSettings(Section):
    """How long what is over stays in the store, and the content of recordings. Unset: for ever."""

    sessions: Age | None = None
    approvals: Age | None = None
    credentials: Age | None = 90 * _DAY
    recordings: Age | None = None


class Settings(BaseSettings):
    """All of it. `Settings.load(path)` is how it is made."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_nested_delimiter=BELOW, extra="forbid", frozen=True, validate_default=True
    )

    data_dir: Path = Path("taskgate-data")
    public_url: str | None = Field(default=None, pattern=r"^https?://")
    dashboard_url: str | None = Field(default=None, pattern=r"^https?://")
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["console", "json"] = "console"
    core_dumps: bool = False
    policy: list[Path] = Field(min_length=1)
    targets: list[TargetSettings] = Field(min_length=1)
    store: StoreSettings = StoreSettings()
    api: ApiSettings = ApiSettings()
    postgres: PostgresSettings = PostgresSettings()
    credentials: CredentialSettings = CredentialSettings()
    approvals: ApprovalSettings = ApprovalSettings()
    recording: RecordingSettings = RecordingSettings()
    retention: RetentionSettings = RetentionSettings()
    airflow: list[AirflowSettings] = Field(default_factory=list)
    prefect: list[PrefectSettings] = Field(default_factory=list)

    @field_validator("targets")
    @classmethod
    def _unique(cls, targets: list[TargetSettings]) -> list[TargetSettings]:
        seen: set[str] = set()
        for target in targets:
            if target.name in seen:
                raise ValueError(f"target {target.name} stands twice")
            seen.add(target.name)
        return targets

    @field_validator("airflow", "prefect")
    @classmethod
    def _unique_sources(cls, sources: list[Any], info: ValidationInfo) -> list[Any]:
        """Every Airflow and Prefect has a name of its own."""
        names = [one.source for one in (*info.data.get("airflow", ()), *sources)]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise ValueError(f"source {twice} stands twice")
        return sources

    @property
    def store_url(self) -> str:
        return self.store.url or f"sqlite+aiosqlite:///{self.data_dir / 'store.sqlite'}"

    @property
    def api_url(self) -> str:
        """The control API as others reach it: `public_url`, else where it listens."""
        if self.public_url:
            return self.public_url.rstrip("/")
        scheme = "https" if self.api.tls_cert else "http"
        return f"{scheme}://{_from_here(self.api.host)}:{self.api.port}"

    def approval_url(self, approval_id: str) -> str | None:
        """The page where people decide; None without a dashboard."""
        return f"{self.dashboard_url.rstrip('/')}/approvals?id={approval_id}" if self.dashboard_url else None

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Settings:
        """Read `path`, apply the environment, check everything. Raises SettingsError with every problem."""
        file = Path(path)
        try:
            text = file.read_text()
        except OSError as error:
            raise SettingsError(f"{file}: {error.strerror}", hint="Name the settings file with --config.") from None
        tree, values = _parse(file, text)
        variables = Variables(cls)()
        given = _merged(values, variables)
        problems = [told for mistaken, told in unknown_variables(cls, given) if mistaken]
        try:
            settings = _anchored(cls.model_validate(given), file.resolve().parent)
        except ValidationError as error:
            origins = Origins(file, tree, variables, cls)
            found = error.errors(include_url=False, include_input=False)
            problems = [*(origins.problem(one) for one in found), *problems]
        if problems:
            raise SettingsError("\n".join(problems))
        return settings

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """`load` has read the environment already."""
        return (init_settings,)

    def doubts(self) -> list[str]:
        """Variables of the environment that look like settings and are none: nothing reads them."""
        return [told for mistaken, told in unknown_variables(type(self), self.model_dump()) if not mistaken]


def _parse(file: Path, text: str) -> tuple[yaml.Node | None, dict[str, Any]]:
    try:
        tree = yaml.compose(text, Loader=yaml.SafeLoader)
        values = yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise SettingsError(f"{file}:{line}: {error.problem}") from None
    except yaml.YAMLError as error:
        raise SettingsError(f"{file}: {error}") from None
    if values is None:
        values = {}
    if not isinstance(values, dict):
        raise SettingsError(f"{file}:1: the file holds settings as `name: value`")
    return tree, values


def _merged(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        below = merged.get(key)
        merged[key] = _merged(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return merged


def _anchored(settings: Settings, folder: Path) -> Settings:
    """Relative paths start at the settings file's folder."""

    def anchor(value: Path | None) -> Path | None:
        return folder / value if value is not None else None

    return settings.model_copy(
        update={
            "data_dir": folder / settings.data_dir,
            "policy": [folder / path for path in settings.policy],
            "api": settings.api.model_copy(
                update={"tls_cert": anchor(settings.api.tls_cert), "tls_key": anchor(settings.api.tls_key)}
            ),
            "postgres": settings.postgres.model_copy(
                update={"tls_cert": anchor(settings.postgres.tls_cert), "tls_key": anchor(settings.postgres.tls_key)}
            ),
            "targets": [
                target.model_copy(
                    update={
                        "ca_file": anchor(target.ca_file),
                        "secret": anchored_reference(target.secret, folder),
                        "catalog_secret": target.catalog_secret and anchored_reference(target.catalog_secret, folder),
                    }
                )
                for target in settings.targets
            ],
            "airflow": [one.anchored(folder) for one in settings.airflow],
            "prefect": [one.anchored(folder) for one in settings.prefect],
        }
    )
