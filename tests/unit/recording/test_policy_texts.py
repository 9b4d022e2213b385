from __future__ import annotations

import json
from pathlib import Path

from taskgate.recording.policy_texts import PolicyTexts, policy_file


def test_a_text_is_kept_once(tmp_path: Path) -> None:
    texts = PolicyTexts(tmp_path)
    texts.keep("abc123", {"b.yaml": "two", "a.yaml": "one"})
    texts.keep("abc123", {"a.yaml": "other"})
    kept = texts.get("abc123")
    assert kept is not None
    assert json.loads(kept) == {"version": "abc123", "sources": {"a.yaml": "one", "b.yaml": "two"}}
    assert texts.get("def") is None


def test_a_version_never_leaves_the_folder() -> None:
    for version in ("../x", "a/b", ".hidden", ""):
        assert len(policy_file(version)) == 64
