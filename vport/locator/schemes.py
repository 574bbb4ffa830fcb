"""The one table of schemes; what a locator's text is read by, and the texts that help with it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vport.errors import SettingsError
from vport.locator.devices import PacketLocator, TapLocator, TunLocator
from vport.locator.services import DhcpLocator, SlirpLocator
from vport.locator.stations import HostLocator, RouterLocator
from vport.locator.streams import (
    CmdLocator,
    PcapLocator,
    StdioLocator,
    TcpLocator,
    UnixgramLocator,
    UnixLocator,
    VdeLocator,
)
from vport.locator.udp import UdpLocator, VxlanLocator
from vport.locator.wireguard import WireguardLocator

if TYPE_CHECKING:
    from vport.locator.base import Locator

SCHEMES: Final[dict[str, type[Locator]]] = {
    locator.scheme: locator
    for locator in (
        UdpLocator,
        WireguardLocator,
        TapLocator,
        HostLocator,
        RouterLocator,
        VdeLocator,
        TcpLocator,
        UnixLocator,
        UnixgramLocator,
        StdioLocator,
        CmdLocator,
        SlirpLocator,
        DhcpLocator,
        PacketLocator,
        TunLocator,
        VxlanLocator,
        PcapLocator,
    )
}


def parse(text: str) -> Locator:
    """Read a locator.

    Raises:
        SettingsError: unknown scheme, malformed target, unknown or malformed option; the message begins
            with the locator and says what is right.
    """
    scheme, colon, rest = text.partition(":")
    if not colon or scheme not in SCHEMES:
        raise SettingsError(
            f"{text!r} is not a locator: it must begin with one of "
            + ", ".join(locator.prefix() for locator in SCHEMES.values())
        )
    try:
        return SCHEMES[scheme].read_text(rest)
    except SettingsError as error:
        shown = text.partition("?")[0] if SCHEMES[scheme].may_hold_secrets else text
        raise SettingsError(f"{shown}: {error}") from None


def explain() -> str:
    """Describe every scheme and its options, for ``--list`` and the manual."""
    lines = []
    for locator in SCHEMES.values():
        lines += [locator.form, f"    {locator.summary}"]
        for name, declared in locator.options().items():
            shown = f"{name}={declared.value or 'yes|no'}"
            lines.append(f"      {shown:<24}{declared.help}")
        lines.append("")
    return "\n".join(lines)
