"""Every check in turn. One that fails by itself is a finding, and keeps no other from being made."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import airflow as _airflow  # noqa: F401  first: while it is imported it imports a secrets backend of ours

from taskgate_airflow.doctor.finding import Finding, Level
from taskgate_airflow.doctor.form import Setup, form
from taskgate_airflow.doctor.gateway import gateway
from taskgate_airflow.doctor.loaded import loaded
from taskgate_airflow.doctor.retries import retries
from taskgate_airflow.doctor.signing import signing
from taskgate_airflow.doctor.ways_around import ways_around

Check = Callable[[Setup], Iterator[Finding]]
CHECKS: tuple[Check, ...] = (form, gateway, signing, ways_around, retries, loaded)


def examine() -> list[Finding]:
    """What there is to say of this Airflow, as this machine's configuration and environment are."""
    setup = Setup.of_this_airflow()
    found: list[Finding] = []
    for check in CHECKS:
        try:
            found += check(setup)
        except Exception as error:  # noqa: BLE001  its text could hold anything of the configuration
            found.append(
                Finding(
                    check.__name__.replace("_", " "), Level.FAIL, f"could not be checked: {type(error).__name__}",
                    "is Airflow configured where this runs?",
                )
            )  # fmt: skip
    return found
