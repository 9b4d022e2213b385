"""What one peer may cost. Sizes in bytes, times in seconds."""

from __future__ import annotations

from dataclasses import dataclass

MEBIBYTE = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Limits:
    """Caps for every connection of one listener. The defaults suit a gateway in front of ordinary databases."""

    message: int = 64 * MEBIBYTE  # the largest message either side may send
    startup_packet: int = 10_000  # PostgreSQL's own cap
    password_message: int = 4_096
    startup_seconds: float = 10.0  # from accept to authenticated
    connect_seconds: float = 10.0  # from authenticated to a ready target
    close_seconds: float = 0.5  # how long an ended session may take to hand over its last words
    connections: int = 5_000
    unauthenticated: int = 500  # connections that have not proven who they are, at one time
    client_ahead: int = MEBIBYTE  # what a client may send ahead while one of its statements waits
    write_buffer: int = 256 * 1024  # beyond this, the other side is not read any more
    held_result: int = 8 * MEBIBYTE  # a result kept back until its row count is known
    statements: int = 10_000  # prepared statements and portals of one session
    scram_iterations: int = 200_000  # the most work a target may ask of us
