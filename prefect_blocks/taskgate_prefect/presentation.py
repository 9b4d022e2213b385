"""Where the blocks' pictures and documentation are found."""

from __future__ import annotations

from typing import Any

_SITE = "https://taskgate.example/docs"

# pydantic makes URLs of them where a block type is registered.
LOGO_URL: Any = f"{_SITE}/assets/logo.png"
DOCUMENTATION_URL: Any = f"{_SITE}/prefect/"
