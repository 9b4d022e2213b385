"""Everything `make demo` and `make test` need, from nothing but Python, make and a C compiler.

    python3 tools/setup.py demo|test

Makes `.venv`, installs the pinned and hashed requirements and the project itself (editable, its compiled module built),
and, for the tests, the Debian packages of the real servers and the browser. As root on Debian missing packages are
installed; otherwise they are listed with the command that installs them. Does nothing when nothing has changed.
`make test PYTHON=python3.13` takes another interpreter than `python3`.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
STAMP = VENV / "taskgate-setup"
COMPILED = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "gateway_core/taskgate/speed").glob("*.p[yx][xi]"))
SOURCES = ["requirements/all.txt", "requirements/uv.txt", "pyproject.toml", *COMPILED]
PYTHON = f"python{sys.version_info.major}.{sys.version_info.minor}"

# Debian package → how to see that it is there.
PYTHON_PACKAGES = {
    f"{PYTHON}-venv": lambda: importlib.util.find_spec("ensurepip") is not None,
    f"{PYTHON}-dev": lambda: Path(sysconfig.get_paths()["include"], "Python.h").exists(),
    "gcc": lambda: shutil.which("cc") is not None,
}
TEST_PACKAGES = {
    "postgresql-15": lambda: Path("/usr/lib/postgresql/15/bin/postgres").exists(),
    "postgresql-client-15": lambda: shutil.which("psql") is not None,
    "pgbouncer": lambda: shutil.which("pgbouncer") is not None or Path("/usr/sbin/pgbouncer").exists(),
    "chromium": lambda: shutil.which("chromium") is not None,
}
CLUSTERS = Path("/etc/postgresql-common/createcluster.conf")
ELSEWHERE = """\
PostgreSQL 15 is in Debian 12; on other releases PostgreSQL's own archive has it. Add that first:
  apt-get install --yes postgresql-common ca-certificates
  /usr/share/postgresql-common/pgdg/apt.postgresql.org.sh -y"""


def main() -> int:
    purpose = sys.argv[1] if len(sys.argv) > 1 else "test"
    if not (3, 11) <= sys.version_info[:2] <= (3, 14):
        print(f"Python 3.11 to 3.14 is needed; {sys.executable} is {sys.version.split()[0]}.", file=sys.stderr)
        print("make PYTHON=python3.13 … takes another one.", file=sys.stderr)
        return 1
    wanted = PYTHON_PACKAGES if purpose == "demo" else PYTHON_PACKAGES | TEST_PACKAGES
    if not debian_packages(wanted):
        return 1
    # A venv of another interpreter, of a clone that was moved or half made is made anew, else brought up to date.
    made_for, stamp = f"{sys.implementation.cache_tag} {ROOT}", fingerprint()
    before = STAMP.read_text().splitlines() if STAMP.exists() else []
    if before == [made_for, stamp]:
        return 0
    say("installing the pinned requirements into .venv (about a minute the first time)")
    if before[:1] != [made_for]:
        run(sys.executable, "-m", "venv", "--clear", str(VENV))
    else:
        STAMP.write_text(f"{made_for}\n")
    python = str(VENV / "bin" / "python")
    run(python, "-m", "pip", "install", "--quiet", "--require-hashes", "-r", str(ROOT / "requirements/uv.txt"))
    uv = [python, "-m", "uv", "pip", "install", "--quiet", "--python", python]
    run(*uv, "--require-hashes", "-r", str(ROOT / "requirements/all.txt"))
    run(*uv, "--no-deps", "--no-build-isolation", "--editable", str(ROOT))
    STAMP.write_text(f"{made_for}\n{stamp}\n")
    return 0


def debian_packages(wanted: Mapping[str, Callable[[], bool]]) -> bool:
    """Install what is missing, or say how to. False when it stays missing."""
    missing = [name for name, there in wanted.items() if not there()]
    if not missing:
        return True
    command = ["apt-get", "install", "--yes", "--no-install-recommends", *missing]
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        print(f"Missing: {', '.join(missing)}.\nWith Debian's packages: sudo {' '.join(command)}", file=sys.stderr)
        if "postgresql-15" in missing:
            print(ELSEWHERE, file=sys.stderr)
        return False
    say(f"installing Debian packages: {', '.join(missing)}")
    if "postgresql-15" in missing and not CLUSTERS.exists():
        # Only the binaries are wanted: no cluster of Debian's own that would start with the machine.
        CLUSTERS.parent.mkdir(parents=True, exist_ok=True)
        CLUSTERS.write_text("create_main_cluster = false\n")
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    for step in (["apt-get", "update", "--quiet", "--quiet"], command):
        done = subprocess.run(step, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            print(f"{' '.join(step)} failed:\n{done.stderr[-2000:].strip()}", file=sys.stderr)
            if step is command and "postgresql-15" in done.stderr:
                print(ELSEWHERE, file=sys.stderr)
            return False
    importlib.invalidate_caches()
    missing = [name for name, there in wanted.items() if not there()]
    if missing:
        print(f"Installed, yet {sys.executable} is still without what is in: {', '.join(missing)}.", file=sys.stderr)
    return not missing


def fingerprint() -> str:
    digest = hashlib.sha256(sys.version.encode())
    for name in SOURCES:
        digest.update((ROOT / name).read_bytes())
    return digest.hexdigest()


def run(*command: str) -> None:
    done = subprocess.run(command, cwd=ROOT, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command[:6])} … failed with exit code {done.returncode}")


def say(text: str) -> None:
    print(f"setup: {text}", flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
