"""What the gateway is told of an Airflow that is not there yet, and what that Airflow then signs, fit together."""

from __future__ import annotations

import json
from pathlib import Path

import jwt
import pytest

from taskgate.demo.airflow_keys import Algorithm
from taskgate.demo.airflow_place import GATEWAY_USER, AirflowPlace
from taskgate.settings_airflow import AirflowSettings

USERS = {"admin": "admin", GATEWAY_USER: "viewer"}


@pytest.mark.parametrize("algorithm", ["RS256", "EdDSA"])
def test_what_the_private_half_signs_the_published_half_verifies(tmp_path: Path, algorithm: Algorithm) -> None:
    keys = AirflowPlace.at(tmp_path, USERS, algorithm).keys
    headers = {"kid": keys.signing["AIRFLOW__API_AUTH__JWT_KID"]}
    token = jwt.encode({"sub": "a"}, keys.private.read_text(), algorithm=keys.algorithm, headers=headers)
    (published,) = jwt.PyJWKSet.from_json(keys.jwks.read_text()).keys
    assert published.key_id == headers["kid"]
    for key in (published.key, keys.public.read_text()):
        assert jwt.decode(token, key, algorithms=[keys.algorithm]) == {"sub": "a"}
    assert keys.private.stat().st_mode & 0o077 == 0
    assert "d" not in json.loads(keys.jwks.read_text())["keys"][0]


def test_the_gateway_takes_what_it_is_told_and_gets_an_account_of_its_own(tmp_path: Path) -> None:
    place = AirflowPlace.at(tmp_path, USERS)
    known = AirflowSettings.model_validate(place.known_as("an-airflow"))
    assert (known.source, known.url, known.username) == ("an-airflow", place.url, GATEWAY_USER)
    assert (known.issuer, known.audience) == (place.keys.issuer, place.keys.task_audience)
    assert known.password is not None
    password = Path(str(known.password).removeprefix("file:"))
    assert password.read_text() == json.loads(place.password_file.read_text())[GATEWAY_USER]
    for file in (password, place.password_file):
        assert file.stat().st_mode & 0o077 == 0
