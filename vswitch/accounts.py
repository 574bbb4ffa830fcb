"""The users and groups of this system, by name and by number (``access.Accounts``)."""

from __future__ import annotations

import grp
import os
import pwd
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

ID_MAX: Final = 2**32 - 2  # (uid_t) -1 means "nobody in particular" to the system calls that take one


class SystemAccounts:
    """What the system's databases say at the time of asking."""

    def user(self, text: str) -> str | None:
        """Give the name of a user; a number without a name stands for itself."""
        try:
            return pwd.getpwnam(text).pw_name
        except (KeyError, ValueError):
            return _numbered(text, lambda uid: pwd.getpwuid(uid).pw_name)

    def group(self, text: str) -> str | None:
        """Give the name of a group; a number without a name stands for itself."""
        try:
            return grp.getgrnam(text).gr_name
        except (KeyError, ValueError):
            return _numbered(text, lambda gid: grp.getgrgid(gid).gr_name)

    def groups_of(self, user: str) -> Collection[str]:
        """Give the groups of a user, the primary one included."""
        try:
            primary = pwd.getpwnam(user).pw_gid
        except (KeyError, ValueError):
            return ()
        return {self.group(str(gid)) or str(gid) for gid in os.getgrouplist(user, primary)}


def _numbered(text: str, name_of: Callable[[int], str]) -> str | None:
    if not (text.isascii() and text.isdigit() and len(text) <= 10 and int(text) <= ID_MAX):
        return None
    try:
        return name_of(int(text))
    except KeyError:
        return str(int(text))
