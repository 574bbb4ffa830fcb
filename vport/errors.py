"""The exceptions of this project: one type for each way a caller can react, no more.

Resource state (closed, broken, busy) is told with Trio's own types, not with these.
"""


class VswitchError(Exception):
    """Base of every error that this project raises on purpose."""


class FrameError(VswitchError):
    """Bytes from the wire are malformed: discard and count; never escapes the port."""


class SettingsError(VswitchError):
    """The operator asked for something impossible: says which setting, its value, what is allowed."""


class LinkError(VswitchError):
    """A link or listener cannot be opened or has ended: says why and, where known, what helps."""


class RefusedError(VswitchError):
    """The switch does not take this link: no free port, no access; the text is for the operator."""


class CommandError(VswitchError):
    """A management command cannot be done.

    Attributes:
        errno: the number that the reply's status line carries, below 100 (spec vde-management 1.2).
        detail: which argument was wrong and what is right, for the operator; may be empty.
    """

    def __init__(self, errno: int, detail: str = "") -> None:
        super().__init__(errno, detail)
        self.errno = errno
        self.detail = detail


class ProtocolError(VswitchError):
    """A protocol was broken, by one side or the other."""


class LocalProtocolError(ProtocolError):
    """Our own caller asked for what the protocol does not allow."""


class RemoteProtocolError(ProtocolError):
    """The peer did what the protocol does not allow."""
