"""Secrets from files: `file:/run/secrets/orders-db`. The file is for its owner only; one newline at its end is no part
of the secret."""

from __future__ import annotations

import asyncio
import os
import stat
from pathlib import Path

from taskgate.secrets.secret import Secret
from taskgate.secrets.source import SecretFault

_LONGEST = 64 * 1024


class FileSource:
    async def fetch(self, name: str) -> Secret:
        return Secret(await asyncio.to_thread(read_private_text, name))


def read_private_text(path: str) -> str:
    """Raises SecretFault where the file is missing, empty, no text, too long, or open to group or others. Mode and
    content are of the same open file: swapping the file in between changes nothing."""
    if not Path(path).is_absolute():
        raise SecretFault(f"The secret file {path} needs an absolute path.")
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # not to hang on a FIFO
    except (OSError, ValueError) as error:
        raise SecretFault(f"The secret file {path} cannot be opened: {getattr(error, 'strerror', error)}.") from None
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise SecretFault(f"The secret file {path} is not a regular file.")
        if status.st_mode & 0o077:
            raise SecretFault(
                f"The secret file {path} is open to others (mode {stat.S_IMODE(status.st_mode):04o}).",
                hint=f"chmod 600 {path}",
            )
        content = file.read(_LONGEST + 1)
    if len(content) > _LONGEST:
        raise SecretFault(f"The secret file {path} is too long for a secret.")
    content = content.removesuffix(b"\n").removesuffix(b"\r")
    if not content:
        raise SecretFault(f"The secret file {path} is empty.")
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise SecretFault(f"The secret file {path} is not UTF-8 text.") from None
