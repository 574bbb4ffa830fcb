"""The plugin ``dump``: what the switch sees, a line a frame, as messages for the sessions that want them."""

from __future__ import annotations

import errno
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from vport.errors import CommandError, SettingsError
from vport.ethernet import EtherType, parse_mac
from vport.rate_limit import RateLimit
from vport.shell.arguments import Optional, Switch, Text, quoted
from vport.shell.command import Menu, Reply, command
from vport.shell.message import Category
from vswitch.plugins.api import Plugin
from vswitch.plugins.frame_text import describe_frame, outline

if TYPE_CHECKING:
    from vport.ethernet import Buffer
    from vport.shell.command import Session
    from vport.train import Train
    from vswitch.management.control import Control
    from vswitch.plugins.api import PluginHost
    from vswitch.ports import Port

IN: Final = Category("dump/packetin", 0o101, "dump: a frame came in on a port")
OUT: Final = Category("dump/packetout", 0o102, "dump: a frame left through a port")
LINES_A_SECOND: Final = 1000  # more would drown whoever reads, and slow the frames down
BYTES_SHOWN: Final = 64  # of a frame in hexadecimal
ETHERTYPES: Final = {"ip": EtherType.IPV4, "ip6": EtherType.IPV6, "arp": EtherType.ARP}
FILTER: Final = Optional(Text("FILTER"))
FORM: Final = (
    "port N, mac MAC, vlan N, type arp, ip, ip6 or a number such as 0x88cc; all of those given must fit"
)


@dataclass(frozen=True, slots=True)
class Filter:
    """Which frames are shown: those that fit everything that is not None."""

    port: int | None = None
    mac: bytes | None = None
    vlan: int | None = None
    type: int | None = None

    def fits(self, port: int, frame: Buffer) -> bool:
        """Whether a frame at a port is one of them."""
        if self.port is not None and port != self.port:
            return False
        if self.mac is None and self.vlan is None and self.type is None:
            return True
        parts = outline(frame)
        return (
            parts is not None
            and self.mac in {None, parts.source, parts.destination}
            and self.vlan in {None, parts.vid}
            and self.type in {None, parts.ethertype}
        )

    def __str__(self) -> str:
        shown = {
            "port": self.port,
            "mac": None if self.mac is None else self.mac.hex(":"),
            "vlan": self.vlan,
            "type": None if self.type is None else f"0x{self.type:04x}",
        }
        return (
            " ".join(f"{name} {value}" for name, value in shown.items() if value is not None) or "everything"
        )


def read_filter(text: str | None) -> Filter:
    """Read a filter such as ``port 3 type arp``; no text lets everything through.

    Raises:
        CommandError: EINVAL.
    """
    words = (text or "").split()
    found = Filter()
    if len(words) % 2:
        raise _wrong(words[-1])
    for name, value in zip(words[::2], words[1::2], strict=True):
        match name:
            case "port":
                found = replace(found, port=_number(value, 65535))
            case "vlan":
                found = replace(found, vlan=_number(value, 4095))
            case "type":
                found = replace(found, type=ETHERTYPES.get(value) or _number(value, 0xFFFF))
            case "mac":
                try:
                    found = replace(found, mac=bytes(parse_mac(value)))
                except SettingsError:
                    raise _wrong(value) from None
            case _:
                raise _wrong(name)
    return found


def _number(text: str, high: int) -> int:
    if not re.fullmatch(r"0x[0-9a-fA-F]{1,4}|[0-9]{1,5}", text) or int(text, 0 if "x" in text else 10) > high:
        raise _wrong(text)
    return int(text, 0 if "x" in text else 10)


def _wrong(text: str) -> CommandError:
    return CommandError(errno.EINVAL, f"FILTER: {quoted(text)} does not fit there; there are: {FORM}")


class Dump(Plugin):
    """Shows frames. Off until ``dump/active 1`` or ``dump/here``; one filter for all who watch."""

    name = "dump"
    help = "show the frames that come in and go out"

    def __init__(self, host: PluginHost) -> None:
        super().__init__(host)
        self.categories = (IN, OUT)
        self._is_active = False
        self._in_hex = False
        self._filter = Filter()
        self._rate = RateLimit(burst=LINES_A_SECOND, interval=1 / LINES_A_SECOND)
        declared = (
            command("dump/active", "1: send messages dump/packetin and packetout", Switch())(
                self._set_active
            ),
            command("dump/filter", "show only these frames; without FILTER: all", FILTER)(self._set_filter),
            command("dump/hex", "1: bytes as they are, 0: what they mean", Switch())(self._set_hex),
            command("dump/here", "show these frames in this session", FILTER)(self._start_here),
            command("dump/showinfo", "show what is being shown", prints=True)(self._show_info),
        )
        self.menus = (Menu("dump", "DUMP MENU", declared),)

    # --- commands ---

    def _set_active(self, control: Control, session: Session, active: bool) -> None:
        self._is_active = active

    def _set_hex(self, control: Control, session: Session, in_hex: bool) -> None:
        self._in_hex = in_hex

    def _set_filter(self, control: Control, session: Session, text: str | None) -> None:
        self._filter = read_filter(text)

    def _start_here(self, control: Control, session: Session, text: str | None) -> None:
        """Begin, and subscribe whoever asks."""
        if session.subscriptions is None:
            raise CommandError(errno.EBADF, "messages have no way to go from here")
        self._filter = read_filter(text)
        self._is_active = True
        session.subscriptions |= {IN.path, OUT.path}

    def _show_info(self, control: Control, session: Session) -> Reply:
        lines = [
            f"active={'true' if self._is_active else 'false'}",
            f"hex={'true' if self._in_hex else 'false'}",
            f"filter: {self._filter}",
        ]
        document = {"active": self._is_active, "hex": self._in_hex, "filter": str(self._filter)}
        return Reply(lines, document=document)

    # --- frames ---

    def ingress(self, port: Port, train: Train) -> Train:
        """Show what comes in."""
        if self._is_active:
            self._show(IN, port.number, train)
        return train

    def egress(self, port: Port, train: Train) -> Train:
        """Show what goes out."""
        if self._is_active:
            self._show(OUT, port.number, train)
        return train

    def _show(self, category: Category, port: int, train: Train) -> None:
        if not self.host.wants(category):
            return
        if train.offload is not None:  # not cut yet: shown once, whole
            self._show_frame(category, port, train.data, f" ({train.count} frames in one)")
            return
        for frame in train.frames():
            self._show_frame(category, port, frame, "")

    def _show_frame(self, category: Category, port: int, frame: Buffer, note: str) -> None:
        if not self._filter.fits(port, frame):
            return
        allowed, suppressed = self._rate.ask(self.host.now())
        if suppressed:
            self.host.publish(category, f"{suppressed} frames not shown: {LINES_A_SECOND} a second at most")
        if allowed:
            what = bytes(frame[:BYTES_SHOWN]).hex(" ") if self._in_hex else describe_frame(frame)
            self.host.publish(category, f"Pkt: Port {port:04d} len={len(frame):04d} {what}{note}")
