"""Leases as text for the disk: JSON with times of day, since no other clock outlives a restart."""

from __future__ import annotations

import json
from ipaddress import IPv4Address
from typing import TYPE_CHECKING, Any, Final

from vport.dhcp.leases import Lease
from vport.errors import SettingsError
from vport.ethernet import format_mac, parse_mac

if TYPE_CHECKING:
    from collections.abc import Iterable

VERSION: Final = 1


def write_leases(leases: Iterable[Lease], now: float, time_of_day: float) -> str:
    """Give the text for ``leases``; ``time_of_day`` is the POSIX time at ``now``. Offers are left out."""
    entries = [
        {
            "address": str(lease.address),
            "mac": format_mac(lease.mac),
            "client": lease.client.hex(),
            "name": lease.name,
            "expires": round(lease.expires_at - now + time_of_day),
        }
        for lease in leases
        if not lease.is_offer
    ]
    return json.dumps({"version": VERSION, "leases": entries}, indent=1) + "\n"


def read_leases(text: str, now: float, time_of_day: float) -> list[Lease]:
    """Read what ``write_leases`` wrote.

    Raises:
        SettingsError: it is something else.
    """
    try:
        content = json.loads(text)
        if content["version"] != VERSION:
            raise SettingsError(f"version {content['version']!r} of the leases' file is unknown")
        return [_read_lease(entry, now - time_of_day) for entry in content["leases"]]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise SettingsError(f"this is no file of leases ({type(error).__name__}: {error})") from None


def _read_lease(entry: dict[str, Any], offset: float) -> Lease:
    name = entry["name"]
    if not (name is None or isinstance(name, str)) or not isinstance(entry["expires"], int | float):
        raise TypeError("a name or time of another type")
    return Lease(
        client=bytes.fromhex(entry["client"]),
        mac=parse_mac(entry["mac"]),
        address=IPv4Address(str(entry["address"])),
        expires_at=entry["expires"] + offset,
        name=name,
    )
