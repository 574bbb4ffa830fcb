"""The plugin ``iplog``: which IP address was seen at which port and MAC address, and when."""

from __future__ import annotations

import errno
import ipaddress
from collections import OrderedDict
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from vport.errors import CommandError
from vport.ethernet import format_mac
from vport.shell.arguments import Argument, Integer, Word, invalid
from vport.shell.command import Menu, Reply, command
from vport.shell.message import Category
from vswitch.management.lookup import PORT, existing_port
from vswitch.plugins.api import Plugin
from vswitch.plugins.frame_text import outline, sender_address

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from vport.shell.command import Session
    from vport.train import Train
    from vswitch.management.control import Control
    from vswitch.plugins.api import PluginHost
    from vswitch.ports import Port

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Key = tuple[IpAddress, bytes, int]

NEW_ADDRESS: Final = Category("iplog/newip", 0o301, "iplog: an IP address was seen at a new place")
CAPACITY: Final = 4096  # addresses; of more, those not seen for longest are forgotten
RANGES_MAX: Final = 256
DEFAULT_EXPIRE: Final = 360  # seconds


@dataclass(slots=True)
class Sighting:
    """An IP address at a place; times in seconds since 1970."""

    address: IpAddress
    mac: bytes
    port: int
    user: str | None
    first: float
    last: float

    def line(self) -> str:
        """Print it."""
        return (
            f"{self.address!s:<39} {format_mac(self.mac)} Port {self.port:04d} User {self.user or 'NONE'} "
            f"first {_moment(self.first)} last {_moment(self.last)}"
        )

    def document(self) -> dict[str, Any]:
        """Describe it."""
        return {
            "address": str(self.address),
            "mac": format_mac(self.mac),
            "port": self.port,
            "user": self.user,
            "first": round(self.first, 3),
            "last": round(self.last, 3),
        }


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass(frozen=True)
class Address(Argument[IpAddress]):
    """An IP address."""

    placeholder: str = "ipaddr"

    @property
    def expected(self) -> str:
        """The form, with examples."""
        return "an IP address, such as 10.1.1.1 or fd00::1"

    def parse(self, text: str) -> IpAddress:
        """Read the address."""
        try:
            return ipaddress.ip_address(text)
        except ValueError:
            raise invalid(self.placeholder, self.expected, text) from None


@dataclass(frozen=True)
class Range(Argument[Network]):
    """A range of IP addresses."""

    placeholder: str = "ipaddr/mask"

    @property
    def expected(self) -> str:
        """The form, with examples."""
        return "a range of IP addresses, such as 10.1.1.0/24 or fd00::/64"

    def parse(self, text: str) -> Network:
        """Read the range; bits behind the mask do not matter."""
        try:
            return ipaddress.ip_network(text, strict=False)
        except ValueError:
            raise invalid(self.placeholder, self.expected, text) from None


class IpLog(Plugin):
    """Notes where addresses are seen. It believes what frames say: who forges an address is noted with it."""

    name = "iplog"
    help = "log which IP address is seen at which port"

    def __init__(self, host: PluginHost) -> None:
        super().__init__(host)
        self.categories = (NEW_ADDRESS,)
        self._expire = DEFAULT_EXPIRE
        self._ranges: list[Network] = []
        self._seen: OrderedDict[Key, Sighting] = OrderedDict()  # that seen last comes last
        declared = (
            command("iplog/showinfo", "show the settings of the log", prints=True)(self._show_info),
            command("iplog/ipadd", "log only addresses of such ranges", Range())(self._add_range),
            command("iplog/ipdel", "log addresses of a range no more", Range())(self._delete_range),
            command("iplog/list", "list the ranges", prints=True)(self._list_ranges),
            command("iplog/setexpire", "set when unseen addresses go, in s", Integer("N", 1, 10**9))(
                self._set_expire
            ),
            command("iplog/iplist", "list the addresses", prints=True)(self._list_all),
            command("iplog/ipport", "list the addresses at a port", PORT, prints=True)(self._list_port),
            command("iplog/ipuser", "list a user's addresses", Word("user"), prints=True)(self._list_user),
            command("iplog/ipsearch", "list where an address is", Address(), prints=True)(self._search),
        )
        self.menus = (Menu("iplog", "IP ADDRESS LOG MENU", declared),)

    # --- frames ---

    def ingress(self, port: Port, train: Train) -> Train:
        """Note who sent what comes in."""
        previous = b""
        frames = train.frames() if train.offload is None else [memoryview(train.data)]
        for frame in frames:
            start = bytes(frame[:42])  # addresses, tag, and as much as holds every kind of sender
            if start != previous:
                previous = start
                self._note(port, frame)
        return train

    def _note(self, port: Port, frame: memoryview) -> None:
        parts = outline(frame)
        address = None if parts is None else sender_address(parts)
        if parts is None or address is None or not self._is_wanted(address):
            return
        now = self.host.wall_time()
        key = (address, parts.source, int(port.number))
        sighting = self._seen.get(key)
        if sighting is not None and now - sighting.last <= self._expire:
            sighting.last = now
            self._seen.move_to_end(key)
            return
        self._seen[key] = Sighting(address, parts.source, int(port.number), port.user, now, now)
        self._seen.move_to_end(key)
        if len(self._seen) > CAPACITY:
            self._seen.popitem(last=False)
        self.host.publish(NEW_ADDRESS, f"{address} {format_mac(parts.source)} Port {port.number:04d}")

    def _is_wanted(self, address: IpAddress) -> bool:
        return not self._ranges or any(address in each for each in self._ranges)

    # --- commands ---

    def _show_info(self, control: Control, session: Session) -> Reply:
        lines = [
            "iplog: where IP addresses are seen",
            f"expire {self._expire} secs",
            f"addresses {len(self._seen)} of at most {CAPACITY}",
        ]
        document = {"expire": self._expire, "addresses": len(self._seen), "capacity": CAPACITY}
        return Reply(lines, document=document)

    def _set_expire(self, control: Control, session: Session, seconds: int) -> None:
        self._expire = seconds

    def _add_range(self, control: Control, session: Session, wanted: Network) -> None:
        if wanted in self._ranges:
            raise CommandError(errno.EEXIST, f"{wanted} is logged")
        if len(self._ranges) >= RANGES_MAX:
            raise CommandError(errno.ENOSPC, f"there are {RANGES_MAX} ranges, which is the most")
        self._ranges.append(wanted)

    def _delete_range(self, control: Control, session: Session, unwanted: Network) -> None:
        if unwanted not in self._ranges:
            raise CommandError(errno.ENOENT, f"{unwanted} is none of the ranges (see iplog/list)")
        self._ranges.remove(unwanted)

    def _list_ranges(self, control: Control, session: Session) -> Reply:
        return Reply([str(each) for each in self._ranges], document=[str(each) for each in self._ranges])

    def _list_all(self, control: Control, session: Session) -> Reply:
        return self._list(lambda sighting: True)

    def _list_port(self, control: Control, session: Session, number: int) -> Reply:
        port = existing_port(control, number)
        return self._list(lambda sighting: sighting.port == port.number)

    def _list_user(self, control: Control, session: Session, user: str) -> Reply:
        return self._list(lambda sighting: sighting.user == user)

    def _search(self, control: Control, session: Session, address: IpAddress) -> Reply:
        found = self._list(lambda sighting: sighting.address == address)
        if not found.document:
            raise CommandError(errno.ENODEV, f"{address} was not seen")
        return found

    def _list(self, is_asked_for: Callable[[Sighting], bool]) -> Reply:
        found = [sighting for sighting in self._current() if is_asked_for(sighting)]
        return Reply([one.line() for one in found], document=[one.document() for one in found])

    def _current(self) -> Iterator[Sighting]:
        """Give what was seen lately, the oldest first, and forget the rest."""
        limit = self.host.wall_time() - self._expire
        while self._seen and next(iter(self._seen.values())).last < limit:
            self._seen.popitem(last=False)
        return iter(list(self._seen.values()))
