"""Files that an operator names: scripts and configurations, read whole and written whole.

Reading refuses what is no regular file (a FIFO would block, a device never end) and what is too large.
Writing is atomic: at every moment the path names the old text or the new one, never a part. Once the
switch runs, both belong in a thread, since a disk may be slow and frames must not wait for it.
"""

from __future__ import annotations

import errno
import os
import stat
import tempfile
from contextlib import suppress
from typing import Final

import trio

MODE: Final = 0o600  # of files we write: locators may hold keys


def read_text(path: str, limit: int) -> str:
    """Read a regular file of at most ``limit`` bytes; what is not UTF-8 is kept as ``\\xNN``.

    Raises:
        OSError: it cannot be read; EISDIR, EINVAL and EFBIG for what must not be read.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    with open(descriptor, "rb") as file:
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISDIR(mode):
            raise OSError(errno.EISDIR, os.strerror(errno.EISDIR), path)
        if not stat.S_ISREG(mode):
            raise OSError(errno.EINVAL, "not a regular file", path)
        data = file.read(limit + 1)
    if len(data) > limit:
        raise OSError(errno.EFBIG, f"larger than {limit} bytes", path)
    return data.decode("utf-8", "backslashreplace")


def write_text(path: str, text: str) -> None:
    """Write a file of mode 0600 in the place of whatever regular file is there, or of none.

    Raises:
        OSError: it cannot be written; what was there is as it was.
    """
    target = os.path.realpath(path)
    if os.path.lexists(target) and not os.path.isfile(target):
        raise OSError(errno.EINVAL, "exists and is not a regular file", path)
    descriptor, new = tempfile.mkstemp(prefix=".", suffix=".new", dir=os.path.dirname(target))
    try:
        with open(descriptor, "wb") as file:
            os.fchmod(descriptor, MODE)
            file.write(text.encode())
            file.flush()
            os.fsync(descriptor)
        os.rename(new, target)
    except BaseException:
        with suppress(OSError):
            os.unlink(new)
        raise


async def write_text_in_thread(path: str, text: str) -> None:
    """Do what ``write_text`` does while others go on. It cannot be cancelled half-way."""
    await trio.to_thread.run_sync(write_text, path, text)
