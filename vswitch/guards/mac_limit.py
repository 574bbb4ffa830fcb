"""Which MAC addresses may be behind one port, and how many: against table flooding and uninvited switches.

The operator sets a limit (``guard/maclimit``), and so does the profile of whoever the port is kept for.

The bridge asks when it is about to learn one more address on the port, and only then, so a known station
costs nothing. The table itself stays the FDB: ageing makes room again.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from vport.errors import SettingsError
from vport.ethernet import MacAddress
from vswitch.guards.recovery import check_recovery

if TYPE_CHECKING:
    from vport.ethernet import Vid
    from vport.profile import PortProfile

# --- our own constants ---

LIMIT_MAX: Final = 65_535  # addresses; above any table of ours a limit means nothing
REPORT_INTERVAL: Final = 10.0  # seconds between reports of one port


class LimitAction(StrEnum):
    """What happens to frames from an address that has no room."""

    PROTECT = "protect"  # discarded, silently
    RESTRICT = "restrict"  # discarded, counted and reported
    SHUTDOWN = "shutdown"  # the port is shut, and opens again after a while


@dataclass(frozen=True, slots=True, kw_only=True)
class MacLimitSettings:
    """What may be behind a port.

    Attributes:
        limit: how many addresses, each counted once however many VLANs it is in.
        allowed: the only addresses that there may be; empty for any.
        action: what happens when there are too many.
        recovery: seconds that the port is shut then; None: until the link returns.

    Raises:
        SettingsError: a value is out of its range.
    """

    limit: int = LIMIT_MAX
    allowed: frozenset[MacAddress] = frozenset()
    action: LimitAction = LimitAction.RESTRICT
    recovery: float | None = 300.0

    def __post_init__(self) -> None:
        if not 1 <= self.limit <= LIMIT_MAX:
            raise SettingsError(f"address limit {self.limit} is not within 1 to {LIMIT_MAX}")
        check_recovery("limit", self.recovery)


@dataclass(frozen=True, slots=True, kw_only=True)
class AddressLimit:
    """What an operator says of the addresses behind a port; see ``settings_in_force``.

    Attributes:
        limit: how many there may be; 0 for any number.
        action: what happens when there are too many.
        recovery: seconds that the port is shut then; None: until the operator opens it.

    Raises:
        SettingsError: a value is out of its range.
    """

    limit: int
    action: LimitAction = LimitAction.RESTRICT
    recovery: float | None = 300.0

    def __post_init__(self) -> None:
        MacLimitSettings(limit=self.limit or LIMIT_MAX, recovery=self.recovery)


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitExceeded:
    """An address too many; with ``is_shut`` the port must be shut, until ``recover_at`` if that is given."""

    vid: Vid
    mac: MacAddress
    limit: int
    discarded: int
    is_shut: bool
    recover_at: float | None


def limit_of(profile: PortProfile) -> MacLimitSettings | None:
    """Give the limit that a profile asks for, None where it lets anybody in."""
    if profile.station is not None:
        return MacLimitSettings(allowed=frozenset({profile.station}))
    if not profile.macs and not profile.max_macs:
        return None
    return MacLimitSettings(limit=profile.max_macs or LIMIT_MAX, allowed=profile.macs)


def settings_in_force(profile: PortProfile | None, said: AddressLimit | None) -> MacLimitSettings | None:
    """Give what holds for a port: what its profile asks for, unless the operator says otherwise.

    The addresses that alone may be behind a port by its profile stay the only ones in any case.

    Args:
        profile: of whoever the port is kept for, None for anybody.
        said: by the operator, None for nothing.
    """
    asked = None if profile is None else limit_of(profile)
    if said is None:
        return asked
    allowed = frozenset[MacAddress]() if asked is None else asked.allowed
    if not said.limit:
        return MacLimitSettings(allowed=allowed) if allowed else None
    return MacLimitSettings(limit=said.limit, allowed=allowed, action=said.action, recovery=said.recovery)


class MacLimit:
    """The limit of one port."""

    __slots__ = ("_discarded_at_report", "_is_shut", "_report_after", "discarded", "recover_at", "settings")

    def __init__(self, settings: MacLimitSettings) -> None:
        self.settings = settings
        self.discarded = 0
        self.recover_at: float | None = None
        self._is_shut = False
        self._report_after = float("-inf")
        self._discarded_at_report = 0

    @property
    def is_shut(self) -> bool:
        """Whether the port is shut by this guard."""
        return self._is_shut

    def allows(self, mac: bytes) -> bool:
        """Whether an address may be behind the port at all."""
        allowed = self.settings.allowed
        return not allowed or mac in allowed

    def admit(
        self, learned: int, vid: Vid, mac: MacAddress, count: int, now: float
    ) -> tuple[bool, LimitExceeded | None]:
        """Ask before learning an address that is new on the port, with ``learned`` others there already.

        Gives whether to learn it and forward the ``count`` frames of its train, and what to report.
        """
        if self._is_shut:
            self.discarded += count
            return False, None
        if learned < self.settings.limit:
            return True, None
        self.discarded += count
        match self.settings.action:
            case LimitAction.PROTECT:
                return False, None
            case LimitAction.RESTRICT:
                return False, self._restrict(vid, mac, now)
            case LimitAction.SHUTDOWN:
                return False, self._shut(vid, mac, now)

    def handle_timer(self, now: float) -> bool:
        """Say whether the port opens again now."""
        if not self._is_shut or self.recover_at is None or now < self.recover_at:
            return False
        self.link_returned()
        return True

    def link_returned(self) -> None:
        """The port's link was replaced: whatever was behind it may have gone."""
        self._is_shut = False
        self.recover_at = None

    def _restrict(self, vid: Vid, mac: MacAddress, now: float) -> LimitExceeded | None:
        if now < self._report_after:
            return None
        self._report_after = now + REPORT_INTERVAL
        return self._exceeded(vid, mac)

    def _shut(self, vid: Vid, mac: MacAddress, now: float) -> LimitExceeded:
        recovery = self.settings.recovery
        self._is_shut = True
        self.recover_at = None if recovery is None else now + recovery
        return self._exceeded(vid, mac)

    def _exceeded(self, vid: Vid, mac: MacAddress) -> LimitExceeded:
        fresh = self.discarded - self._discarded_at_report
        self._discarded_at_report = self.discarded
        return LimitExceeded(
            vid=vid,
            mac=mac,
            limit=self.settings.limit,
            discarded=fresh,
            is_shut=self._is_shut,
            recover_at=self.recover_at,
        )
