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
MAX_STATIONS: Final = 65535  # ours: no port has more


@dataclass(frozen=True, slots=True, kw_only=True)
class PortProfile:
    """What a port is to be like while it is this link's.

    Attributes:
        number: of the port; None to be given a free one.
        pvid: VLAN of frames without a tag.
        tagged: VLANs whose frames have a tag.
        macs: the only source addresses that may come in; empty for any.
        max_macs: how many different source addresses may come in at a time, 0 for any number.
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
