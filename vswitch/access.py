"""Who may plug into a port: the rules, as pure functions of names.

A port may be kept for one user, for one group, or for both (either is then enough). Root may use every
port. Besides, all endpoints of a port belong to one user, root or not (specification: VDE management,
section 3). Users and groups go by their names, or by their numbers in decimal where they have no name.

Links that the operator plugs in are not asked: whoever may tell the switch to do that could change the
rules as well.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

ROOT: Final = "root"


class Accounts(Protocol):
    """The users and groups of this system. ``vswitch.accounts`` fulfils it."""

    def user(self, text: str) -> str | None:
        """Give the name of the user that ``text`` names by name or number, None if there cannot be one."""

    def group(self, text: str) -> str | None:
        """Give the name of the group that ``text`` names by name or number, None if there cannot be one."""

    def groups_of(self, user: str) -> Collection[str]:
        """Give the names of all groups that a user is in."""


@dataclass(frozen=True, slots=True)
class AccessRule:
    """For whom a port is kept; the rule without user and group keeps nobody out."""

    user: str | None = None
    group: str | None = None

    def allows(self, user: str | None, groups: Collection[str]) -> bool:
        """Whether a user may use the port; ``groups`` are the user's, None is somebody unknown."""
        if self.user is None and self.group is None:
            return True
        return user is not None and (user in {ROOT, self.user} or self.group in groups)

    def __str__(self) -> str:
        wanted = [f"user {self.user}"] * (self.user is not None)
        wanted += [f"group {self.group}"] * (self.group is not None)
        return " or ".join(wanted) or "everybody"


def refusal(
    rule: AccessRule, present: Iterable[str | None], user: str | None, groups: Collection[str]
) -> str | None:
    """Say why ``user`` may not plug into a port, None if nothing speaks against it.

    Args:
        rule: the port's.
        present: the users of what is plugged in there, None for those unknown.
        user: who asks; None is somebody unknown.
        groups: the groups that ``user`` is in.
    """
    who = "somebody unknown" if user is None else f"user {user}"
    if not rule.allows(user, groups):
        return f"{who} may not use it: it is kept for {rule}"
    for other in present:
        if other != user:
            owner = "somebody unknown" if other is None else f"user {other}"
            return f"{who} may not use it: {owner} does, and a port belongs to one user at a time"
    return None
