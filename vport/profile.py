"""What a link asks of its port: number, VLANs, and which stations may be behind it.

A link whose far end has proven who it is carries a profile, so that port, VLANs and addresses belong to the
identity and not to the address that it happens to call from. The switch obeys it; a cable has no use for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from vport.errors import SettingsError
from vport.ethernet import VID_MAX, Vid

if TYPE_CHECKING:
    from vport.ethernet import MacAddress

DEFAULT_PVID: Final = Vid(0)  # where every new port is (see ``vswitch.vlan``)
MAX_STATIONS: Final = 65536  # ours: no port has more


@dataclass(frozen=True, slots=True, kw_only=True)
class PortProfile:
    """What a port is to be like while it is this link's.

    Attributes:
        number: of the port; None to be given a free one.
        pvid: VLAN of frames without a tag.
        tagged: VLANs whose frames have a tag.
        macs: the only source addresses that may come in; empty for any.
        max_macs: how many different source addresses may come in, 0 for any number.
        station: the address of a station that is ours to present: it is found on this port alone, and
            no other port may send in its name.

    Raises:
        SettingsError: they contradict themselves.
    """

    number: int | None = None
    pvid: Vid = DEFAULT_PVID
    tagged: tuple[Vid, ...] = ()
    macs: frozenset[MacAddress] = frozenset()
    max_macs: int = 0
    station: MacAddress | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.pvid <= VID_MAX:
            raise SettingsError(f"VLAN {self.pvid} is not from 0 to {VID_MAX}")
        for vid in self.tagged:
            if not 1 <= vid <= VID_MAX:
                raise SettingsError(f"VLAN {vid} is not from 1 to {VID_MAX}")
            if vid == self.pvid:
                raise SettingsError(f"VLAN {vid} cannot be tagged and untagged on one port")
        if not 0 <= self.max_macs <= MAX_STATIONS:
            raise SettingsError(f"{self.max_macs} MAC addresses: 0 (no limit) to {MAX_STATIONS}")


class StationGuard:
    """Says which source addresses may come in through a port, and remembers those it let in.

    The first ``limit`` addresses stay until the port is empty, so that nobody gets in by driving others out.
    """

    __slots__ = ("_fixed", "_limit", "_seen")

    def __init__(self, profile: PortProfile) -> None:
        fixed = set(profile.macs)
        if profile.station is not None:
            fixed.add(profile.station)
        self._fixed = frozenset(bytes(mac) for mac in fixed)
        self._limit = profile.max_macs or MAX_STATIONS
        self._seen: set[bytes] = set()

    @staticmethod
    def is_needed(profile: PortProfile) -> bool:
        """Whether a profile limits anything."""
        return bool(profile.macs or profile.max_macs or profile.station)

    def admits(self, source: bytes) -> bool:
        """Whether a frame with this source address may come in."""
        if self._fixed:
            return source in self._fixed
        if source in self._seen:
            return True
        if len(self._seen) >= self._limit:
            return False
        self._seen.add(source)
        return True

    def reset(self) -> None:
        """Forget who was let in: whoever is behind the port has gone."""
        self._seen.clear()
