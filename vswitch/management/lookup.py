"""What several menus take as arguments: ports and VLANs by number, and how they are found."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Final

from vport.errors import CommandError
from vport.ethernet import VID_MAX, Vid
from vport.shell.arguments import Integer, invalid
from vswitch.ports import PORT_LIMIT_MAX
from vswitch.vlan import DEFAULT_VID

if TYPE_CHECKING:
    from vswitch.management.control import Control
    from vswitch.ports import Port
    from vswitch.vlan import Vlan

PORT: Final = Integer("PORT", 1, PORT_LIMIT_MAX)  # the switch at hand may have fewer: see existing_port
VLAN: Final = Integer("VLAN", DEFAULT_VID, VID_MAX)
NEW_VLAN: Final = Integer("VLAN", 1, VID_MAX)


def check_number(control: Control, number: int) -> None:
    """Complain about a number that no port of this switch can have.

    Raises:
        CommandError: EINVAL.
    """
    ports = control.bridge.ports
    if not ports.is_number(number):
        raise invalid("PORT", f"a number from 1 to {ports.limit}", number)


def existing_port(control: Control, number: int) -> Port:
    """Find a port by its number.

    Raises:
        CommandError: EINVAL, this switch has no such number; ENXIO, there is no such port.
    """
    check_number(control, number)
    port = control.bridge.ports.get(number)
    if port is None:
        raise CommandError(errno.ENXIO, f"port {number} does not exist")
    return port


def existing_vlan(control: Control, number: int) -> Vlan:
    """Find a VLAN by its number.

    Raises:
        CommandError: ENXIO, there is no such VLAN.
    """
    vlan = control.bridge.vlans.get(Vid(number))
    if vlan is None:
        raise CommandError(errno.ENXIO, f"VLAN {number} does not exist")
    return vlan
