"""What a session has yet to be sent: bounded, with replies never lost and messages counted when lost."""

from __future__ import annotations

from typing import Final

from vport.shell.message import LOST, Message
from vport.shell.protocol import encode_message

MESSAGE_LIMIT: Final = 65536  # bytes waiting above which messages are lost: some 1000 messages
READ_LIMIT: Final = 65536  # bytes waiting above which the session's next command has to wait


class OutputQueue:
    """Bytes on their way to one client.

    Replies always find room: the session takes its next command only while ``is_congested`` is false,
    so there is at most one reply beyond ``READ_LIMIT``. Messages come unasked: they are lost while
    more than ``MESSAGE_LIMIT`` bytes wait, and once there is room again a message says how many were.

    Attributes:
        lost: messages lost since the client was last told.
    """

    def __init__(self) -> None:
        self.lost = 0
        self._pending = bytearray()

    def __len__(self) -> int:
        return len(self._pending)

    @property
    def is_congested(self) -> bool:
        """Whether the client reads too slowly to be given more work."""
        return len(self._pending) > READ_LIMIT

    def put_reply(self, data: bytes) -> None:
        """Queue whole lines that answer a command."""
        self._pending += data

    def put_message(self, data: bytes) -> None:
        """Queue an encoded message, or count it as lost."""
        if self.lost or len(self._pending) + len(data) > MESSAGE_LIMIT:
            self.lost += 1
        else:
            self._pending += data

    def head(self, size: int) -> bytes:
        """Give up to ``size`` bytes that are to be sent next."""
        return bytes(self._pending[:size])

    def sent(self, size: int) -> None:
        """Note that the first ``size`` bytes have gone."""
        del self._pending[:size]
        if self.lost and len(self._pending) <= MESSAGE_LIMIT // 2:
            count, self.lost = self.lost, 0
            self._pending += encode_message(
                Message(LOST, f"{count} messages: this session did not read them")
            )
