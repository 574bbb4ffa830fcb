"""The command ``vport``: joins two locators with a cable."""

from __future__ import annotations

import argparse
import logging
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from vport._version import __version__
from vport.cable import run_cable
from vport.errors import SettingsError
from vport.links import open_link
from vport.locator import (
    Locator,
    TapLocator,
    UdpLocator,
    WireguardLocator,
    explain,
    integer,
    interface_address,
    interface_name,
    parse,
)
from vport.program import ENDED_AS_ASKED, refuse_usage, run_program, set_up_logging

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vport.links.base import Link

logger = logging.getLogger(__name__)

DEFAULT_TAP: Final = "tapyuan"
DEFAULT_MTU: Final = 1400  # raw UDP over IPv6 with a VLAN tag still fits an underlay of 1466 bytes

WORDS: Final = ("genkey", "genpsk", "pubkey", "join")  # commands of their own: see wireguard_commands

DESCRIPTION: Final = """\
A port of a virtual switch: carries Ethernet frames between two places. The usual two are a switch's UDP
port and a TAP device of this machine, which thereby joins the switch's LAN:

  vport SERVER PORT        join the LAN of the switch at SERVER, UDP port PORT, with a TAP device;
                           short for: vport udp://SERVER:PORT tap://tapyuan?mtu=1400
  vport LOCATOR LOCATOR    join any two places; vport --list explains the locators
  vport join TOKEN         join a switch that sent an invitation (peer/invite), encrypted
  vport genkey             make a private key for WireGuard; vport pubkey reads one and prints its public
                           key, vport genpsk makes a preshared key: all as wg does

Runs in the foreground until SIGINT or SIGTERM. When the server goes away it keeps trying to come back.
"""

EPILOG: Final = """\
Examples:
  sudo vport vs.example.net 9999 --address 10.1.1.101/24
      This machine joins the LAN as 10.1.1.101.
  sudo ip tuntap add dev tap0 mode tap user "$USER" && sudo ip link set tap0 up
  vport udp://vs.example.net:9999 tap://tap0
      The same without root, on a TAP device made beforehand.
  vport udp://127.0.0.1:9999 'host://10.1.1.7/24?ping=10.1.1.1'
      A simulated host joins the LAN and pings 10.1.1.1. No root needed.

Exit status: 0 ended as asked, 1 failed, 2 wrong usage.
"""


def make_parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = argparse.ArgumentParser(
        prog="vport",
        usage="vport [options] SERVER PORT | vport [options] LOCATOR LOCATOR | vport join TOKEN",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("places", nargs="*", metavar="PLACE", help="SERVER PORT, or two locators")
    group = parser.add_argument_group("with SERVER PORT")
    group.add_argument("--tap", metavar="NAME", help=f"name of the TAP device (default {DEFAULT_TAP})")
    group.add_argument(
        "--address",
        action="append",
        metavar="CIDR",
        help="address of the device, such as 10.1.1.101/24; repeatable",
    )
    group.add_argument("--mtu", metavar="N", help=f"MTU of the device (default {DEFAULT_MTU})")
    parser.add_argument("--list", action="store_true", help="explain the locators and end")
    parser.add_argument("--debug", action="store_true", help="log what only a developer wants to know")
    parser.add_argument("-v", "--version", action="version", version=f"vport {__version__}")
    return parser


def read_locators(arguments: argparse.Namespace) -> tuple[Locator, Locator]:
    """Give the two places to join.

    Raises:
        SettingsError: a locator is malformed, or options do not go with the places.
    """
    if len(arguments.places) != 2:
        raise SettingsError(
            f"expected SERVER PORT or two locators, but got {len(arguments.places)} arguments; see --help"
        )
    first, second = arguments.places
    if ":/" not in first and ":" not in second:
        return _server_locator(first, second), _tap_locator(arguments)
    for name in ("tap", "address", "mtu"):
        if getattr(arguments, name) is not None:
            raise SettingsError(f"--{name} goes with SERVER PORT; with locators write tap://NAME?{name}=…")
    return parse(first), parse(second)


def _server_locator(host: str, port: str) -> UdpLocator:
    if not host:
        raise SettingsError("the name of the server is empty")
    try:
        return UdpLocator(host=host.strip("[]"), port=integer(1, 65535)(port))
    except SettingsError as error:
        raise SettingsError(f"UDP port {error}") from None


def _tap_locator(arguments: argparse.Namespace) -> TapLocator:
    return TapLocator(
        name=interface_name(arguments.tap if arguments.tap is not None else DEFAULT_TAP),
        mtu=DEFAULT_MTU if arguments.mtu is None else integer(68, 65521)(arguments.mtu),
        address=tuple(interface_address(text) for text in arguments.address or ()),
    )


async def join(first: Locator, second: Locator) -> None:
    """Open both places and carry frames between them until one ends, or until cancelled."""
    # The device first: when that is not permitted, nothing has been said to the network yet.
    device, other = sorted(
        (first, second), key=lambda place: isinstance(place, UdpLocator | WireguardLocator)
    )
    if isinstance(other, WireguardLocator) and isinstance(device, TapLocator) and device.mtu is None:
        await _join_to_fit(other, device)
        return
    with await open_link(device) as one, await open_link(other) as two:
        await _carry(one, two)


async def _join_to_fit(place: WireguardLocator, device: TapLocator) -> None:
    """Do the same with a device that is given the MTU that fits the network below."""
    from vport.links.wireguard import open_wireguard_client

    with (
        await open_wireguard_client(place) as client,  # says nothing before it runs
        await open_link(replace(device, mtu=await client.lan_mtu())) as tap,
    ):
        await _carry(tap, client)


async def _carry(one: Link, two: Link) -> None:
    for link in (one, two):
        logger.info("%s is open", link.description)
    await run_cable(one, two)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; give its exit status."""
    words = list(sys.argv[1:] if argv is None else argv)
    if words and words[0] in WORDS:
        from vport.wireguard_commands import run_word

        return run_word(words)
    parser = make_parser()
    arguments = parser.parse_args(words)
    if arguments.list:
        sys.stdout.write(explain())
        return ENDED_AS_ASKED
    set_up_logging("vport", level=logging.DEBUG if arguments.debug else logging.INFO)
    try:
        first, second = read_locators(arguments)
    except SettingsError as error:
        refuse_usage(parser, error)
    return run_program("vport", lambda: join(first, second))


if __name__ == "__main__":
    sys.exit(main())
