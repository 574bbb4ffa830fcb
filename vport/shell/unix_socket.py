"""The management socket's file: see ``vport.unix_files``."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from vport.unix_files import SocketFile

if TYPE_CHECKING:
    import socket
    from typing import Self


class ManagementSocket(SocketFile):
    """A listening Unix stream socket and the file that names it, for ``server``."""

    what = "management socket"

    @classmethod
    def adopt(cls, listening: socket.socket) -> Self:
        """Take a socket that somebody else made and listens on; its file stays theirs."""
        listening.setblocking(False)
        path = os.fsdecode(listening.getsockname())
        if not path or path.startswith("\0"):  # an abstract name is no file
            return cls(listening, "@" + path[1:], 0o777, None)
        return cls(listening, path, stat.S_IMODE(os.stat(path).st_mode), None)
