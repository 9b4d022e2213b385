"""A session's bundle, to keep and to verify where the gateway has no say."""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path

import streamlit as st

from taskgate.client import Client
from taskgate_dashboard.sign_in import gateway, may


def download_button(session_id: str) -> None:
    """Nothing is exported before the click."""
    if may("records:read"):
        st.download_button(
            "Download bundle",
            partial(_bundle, gateway(), session_id),  # runs beside this page, where nobody is signed in
            file_name=f"{session_id}.zip",
            mime="application/zip",
            key=f"bundle-{session_id}",
            icon=":material/download:",
            on_click="ignore",
            help="Its records in clear, the checkpoints and policies: `taskgate verify` checks it offline.",
        )


def _bundle(client: Client, session_id: str) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        bundle = Path(folder) / "bundle.zip"
        client.export(bundle, sessions=[session_id])
        return bundle.read_bytes()
