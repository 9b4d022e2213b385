"""Whether Airflow loads the plugin and the cluster policy, and whether the triggerer can ask."""

from __future__ import annotations

from collections.abc import Iterator

from taskgate_airflow.bypasses import configured_connections
from taskgate_airflow.compat.metadata import loaded_plugin, loaded_policies
from taskgate_airflow.doctor.finding import Finding, Level
from taskgate_airflow.doctor.form import Form, Setup
from taskgate_airflow.options import flag, option

_PLUGIN, _POLICY = "taskgate", "taskgate_airflow.policies"
_INSTALL = "install taskgate into Airflow's own environment: its entry points are how Airflow finds it"


def loaded(setup: Setup) -> Iterator[Finding]:
    yield from _plugin(setup)
    yield _policy()
    yield from _triggerer(setup)


def _plugin(setup: Setup) -> Iterator[Finding]:
    plugin = loaded_plugin(_PLUGIN)
    if plugin is None:
        level = Level.FAIL if setup.form is Form.SERVER else Level.WARN
        what = "every governed connection is denied" if setup.form is Form.SERVER else "credentials end by expiry only"
        yield Finding("plugin", level, f"not loaded: {what}", _INSTALL)
        return
    if setup.form is not Form.SERVER:
        yield Finding("plugin", Level.OK, "loaded")
    elif plugin.fastapi_root_middlewares:
        yield Finding("plugin", Level.OK, "loaded, with its middleware (not by `airflow api-server --apps execution`)")
    else:
        yield Finding(
            "plugin", Level.FAIL, "loaded without its middleware: the API server never learns which task asks",
            "use the plugin and the secrets backend of one version of taskgate",
        )  # fmt: skip


def _policy() -> Finding:
    if not flag("enforce_policy"):
        return Finding("cluster policy", Level.OK, "off ([taskgate] enforce_policy)")
    if _POLICY not in loaded_policies():
        return Finding("cluster policy", Level.FAIL, "on, but Airflow has not loaded it", _INSTALL)
    if not configured_connections():
        return Finding(
            "cluster policy", Level.WARN, "on, and no connection is named here: it holds for every connection",
            "name them in [taskgate] governed_connections",
        )  # fmt: skip
    return Finding("cluster policy", Level.OK, "on")


def _triggerer(setup: Setup) -> Iterator[Finding]:
    if setup.form is not Form.SERVER:
        return
    if option("api_key_file") is None:
        yield Finding(
            "triggerer", Level.WARN, "no [taskgate] api_key_file here: on a triggerer, governed connections are denied",
            "give triggerers a key with credentials:delegate and approvals:watch",
        )  # fmt: skip
    else:
        yield Finding("triggerer", Level.OK, "has a key of its own")
