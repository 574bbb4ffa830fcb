"""Files with secrets: read with a look at who else may, written whole and for their owner alone."""

from __future__ import annotations

import logging
import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import Final

from vport.errors import LinkError, SettingsError
from vport.files import MODE, write_text

logger = logging.getLogger(__name__)

_LARGEST: Final = 64 << 20  # bytes; 65 536 peers take 20 MB
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO


def state_directory() -> Path:
    """Say where what must outlive a restart is kept.

    That is what systemd gives (StateDirectory=), else ``$XDG_STATE_HOME``, else ``/var/lib/vswitch`` for root
    and ``~/.local/state/vswitch`` for others.
    """
    given = os.environ.get("STATE_DIRECTORY", "").partition(":")[0]
    if given:
        return Path(given)
    home = os.environ.get("XDG_STATE_HOME", "")
    if home:
        return Path(home) / "vswitch"
    if os.geteuid() == 0:
        return Path("/var/lib/vswitch")
    return Path.home() / ".local/state/vswitch"


def read_secret(path: str | os.PathLike[str], what: str) -> str:
    """Read a text file that holds secrets; say in the log when others can read it too.

    Raises:
        SettingsError: it cannot be read, or is no text.
    """
    try:
        with open(path, "rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            content = file.read(_LARGEST)
        text = content.decode()
    except OSError as error:
        raise SettingsError(f"cannot read the {what} {path}: {error.strerror}") from error
    except UnicodeDecodeError:
        raise SettingsError(f"the {what} {path} is no text") from None
    _look_at(path, mode)
    return text


def look_who_may_read(path: str | os.PathLike[str]) -> None:
    """Say in the log when others can read a file that was seen to hold secrets."""
    with suppress(OSError):  # it was read a moment ago
        _look_at(path, os.stat(path).st_mode)


def _look_at(path: str | os.PathLike[str], mode: int) -> None:
    if stat.S_ISREG(mode) and mode & _OTHERS:
        logger.warning("%s: others may open this file with secrets; chmod 600 %s", path, path)


def write_secret(path: str | os.PathLike[str], text: str, *, exclusive: bool = False) -> None:
    """Put a file with ``text`` in place: all of it or nothing, readable by its owner alone.

    Args:
        path: where; the directory is made if needed.
        text: what.
        exclusive: refuse where there is a file already.

    Raises:
        FileExistsError: there is a file, and ``exclusive`` was asked for.
        LinkError: it cannot be written; what was there is as it was.
    """
    target = Path(path)
    try:
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if exclusive:
            with open(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, MODE), "w") as file:
                file.write(text)
        else:
            write_text(str(target), text)
    except FileExistsError:
        raise
    except OSError as error:
        raise LinkError(f"cannot write {target}: {error.strerror}") from error
