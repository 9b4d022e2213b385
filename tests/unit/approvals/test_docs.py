"""What docs/approvals.md and docs/credentials.md promise in lists is what the code has."""

from __future__ import annotations

import json
import re
from dataclasses import fields
from pathlib import Path

from taskgate.approvals.notifiers.notification import Notification
from taskgate.domain import ApprovalState
from taskgate.identity.scopes import Scope

DOCS = Path(__file__).parents[3] / "docs"


def test_every_state_is_explained() -> None:
    text = (DOCS / "approvals.md").read_text()
    assert set(re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE)) == {state.value for state in ApprovalState}


def test_every_scope_is_explained() -> None:
    text = (DOCS / "credentials.md").read_text()
    table = text[text.index("| scope |") : text.index("`--alias`")]
    assert set(re.findall(r"`([a-z]+(?::[a-z]+)?)`", table)) == {scope.value for scope in Scope}


def test_notification_has_the_shown_fields() -> None:
    text = (DOCS / "approvals.md").read_text()
    shown = json.loads(text[text.index("```json") + 7 :].partition("```")[0])
    assert list(shown) == [field.name for field in fields(Notification)]
