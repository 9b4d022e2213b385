"""`python -m taskgate_dashboard --url http://127.0.0.1:8400 --port 8501`: the dashboard, on loopback by default."""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
from pathlib import Path

APP = Path(__file__).with_name("app.py")


def command(host: str, port: int) -> list[str]:
    """Streamlit's command line: headless, no usage statistics, no file watching, no developer's menu."""
    options = {
        "server.address": host,
        "server.port": str(port),
        "server.headless": "true",
        "server.fileWatcherType": "none",
        "server.showEmailPrompt": "false",
        "browser.gatherUsageStats": "false",
        "client.toolbarMode": "viewer",
        "client.showErrorDetails": "none",
        "theme.base": "light",
        "theme.primaryColor": "#0b5cad",
        "theme.font": "sans-serif",
        "theme.baseRadius": "0.5rem",
    }
    arguments = [f"--{name}={value}" for name, value in options.items()]
    return [sys.executable, "-m", "streamlit", "run", str(APP), *arguments]


def main(arguments: list[str] | None = None) -> None:
    """Replaces this process by Streamlit's."""
    parser = argparse.ArgumentParser(prog="taskgate-dashboard", description=__doc__)
    parser.add_argument(
        "--url", default=os.environ.get("TASKGATE_URL", "http://127.0.0.1:8400"), help="the control API"
    )
    parser.add_argument("--host", default="127.0.0.1", help="where to listen; off loopback put TLS in front")
    parser.add_argument("--port", type=int, default=8501)
    chosen = parser.parse_args(arguments)
    if importlib.util.find_spec("streamlit") is None:
        parser.exit(
            2, f"{parser.prog}: streamlit is not installed.\nInstall it with: pip install 'taskgate[dashboard]'\n"
        )
    # People sign in with their own keys: one of the process's would be everybody's.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TASKGATE_API_KEY")}
    environment["TASKGATE_URL"] = chosen.url
    os.execve(sys.executable, command(chosen.host, chosen.port), environment)  # noqa: S606


if __name__ == "__main__":
    main()
