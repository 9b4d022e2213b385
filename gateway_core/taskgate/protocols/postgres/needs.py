"""What a client's message may have to wait for."""

from __future__ import annotations

from enum import Enum, auto


class Need(Enum):
    ANSWER = auto()  # the target's
    JUDGEMENT = auto()  # policy's, perhaps a human's
    ANALYSIS = auto()  # of a text so long that others would have to wait for it
    CATALOG = auto()  # read again, because this session changed it


class Blocked(Exception):
    """This message cannot be interpreted before the need is met; nothing of it has been done yet."""

    def __init__(self, need: Need) -> None:
        super().__init__(need.name)
        self.need = need
