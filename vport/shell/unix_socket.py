"""The management socket's file: see ``vport.unix_files``."""

from __future__ import annotations

from vport.unix_files import SocketFile


class ManagementSocket(SocketFile):
    """A listening Unix stream socket and the file that names it, for ``server``."""

    what = "management socket"
