"""The command ``vport``: joins two locators with a cable."""

from __future__ import annotations

import argparse
import logging
import os
import re
import sys
from typing import TYPE_CHECKING, Final

from vport._version import __version__
from vport.cable_settings import CableSettings
from vport.daemon import detach, log_to_syslog
from vport.errors import SettingsError
from vport.impairment import PARAMETERS
from vport.locator import Locator, TapLocator, UdpLocator, explain, parse
from vport.program import ENDED_AS_ASKED, refuse_usage, run_program, set_up_logging
from vport.readers import integer, interface_address, interface_name

if TYPE_CHECKING:
    from collections.abc import Sequence

logger = logging.getLogger(__name__)

DEFAULT_TAP: Final = "tapyuan"
DEFAULT_MTU: Final = 1400  # raw UDP over IPv6 with a VLAN tag still fits an underlay of 1466 bytes

WORDS: Final = ("genkey", "genpsk", "pubkey", "join")  # commands of their own: see wireguard_commands
FAULTS: Final = (
    (("-l", "--loss"), "PERCENT", "frames lost"),
    (("-L", "--lostburst"), "FRAMES", "mean length of bursts of lost frames"),
    (("-d", "--delay"), "TIME", "delay; ms without a unit"),
    (("-D", "--dup"), "PERCENT", "frames repeated, each copy with this probability"),
    (("-b", "--band", "--bandwidth"), "RATE", "what the channel delivers; frames wait for it; bytes/s"),
    (("-s", "--speed"), "RATE", "what the interface sends, before the channel; bytes/s"),
    (("-c", "--capacity", "--chanbufsize"), "SIZE", "bytes that wait at most, per direction"),
    (("-n", "--noise"), "BITS", "bits flipped per 2^20 bytes; 1e-6ber as an error rate"),
    (("-m", "--cable-mtu"), "SIZE", "longest frame that passes, Ethernet header included"),
)
FAULT_NAMES: Final = {"cable-mtu": "mtu"}  # --mtu is the TAP device's

DESCRIPTION: Final = """\
A port of a virtual switch: carries Ethernet frames between two places. The usual two are a switch's UDP
port and a TAP device of this machine, which thereby joins the switch's LAN:

  vport SERVER PORT        join the LAN of the switch at SERVER, UDP port PORT, with a TAP device;
                           short for: vport udp://SERVER:PORT tap://tapyuan?mtu=1400
  vport LOCATOR LOCATOR    join any two places; vport --list explains the locators
  vport slirp LOCATOR      give the LAN there a way out, with NAT, DHCP and DNS, without root;
                           short for: vport LOCATOR slirp://10.0.2.0/24
  vport join TOKEN         join a switch that sent an invitation (peer/invite), encrypted
  vport genkey             make a private key for WireGuard; vport pubkey reads one and prints its public
                           key, vport genpsk makes a preshared key: all as wg does
  vport lan up FILE        build a LAN of bridges, namespaces, NAT and such cables; see vport lan --help

The cable can have faults: --loss, --delay and the others below. Runs in the foreground, unless --daemon is
given, until SIGINT or SIGTERM. When the server goes away it keeps trying to come back.
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
  vport vde:///tmp/vde.ctl 'cmd:ssh HOST vde_plug /tmp/vde.ctl'
      Join a VDE switch here with one there, as dpipe does.
  vport udp://127.0.0.1:9999 tap://tap0 --loss 1% --delay 10ms+3ms --bandwidth LR2Mbit --mgmt /tmp/c.mgmt
      A cable with faults, slow from the first place to the second (LR) but not back; vswitchterm /tmp/c.mgmt
      changes them while it runs.

Exit status: 0 ended as asked, 1 failed, 2 wrong usage.
"""


def make_parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = argparse.ArgumentParser(
        prog="vport",
        usage="vport [options] SERVER PORT | vport [options] LOCATOR LOCATOR | vport COMMAND …",
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
    _add_faults(parser)
    _add_life(parser)
    parser.add_argument("--list", action="store_true", help="explain the locators and end")
    parser.add_argument("--debug", action="store_true", help="log what only a developer wants to know")
    parser.add_argument("-v", "--version", action="version", version=f"vport {__version__}")
    return parser


def _add_faults(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group(
        "faults of the cable",
        "[LR|RL]VALUE[UNIT][+VARIATION[UNIT]][U|N]: LR from the first place to the second, RL back, without"
        " both; variation uniform (U) or normal (N, sigma a third of it). Repeatable. Units: % for"
        " probabilities; us, ms, s; B, kB, MB, KiB, MiB; bit, kbit, Mbit, Gbit and B/s, kB/s, MB/s for rates;"
        " K, M, G for 2^10, 2^20, 2^30 of the base unit, as wirefilter has them.",
    )
    for flags, metavar, text in FAULTS:
        name = flags[-1].removeprefix("--")
        group.add_argument(
            *flags, action="append", default=[], metavar=metavar, dest=f"fault_{FAULT_NAMES.get(name, name)}",
            help=text,
        )  # fmt: skip
    group.add_argument("-N", "--nofifo", action="store_true", help="frames may overtake one another")
    group.add_argument("--seed", type=int, metavar="N", help="repeat the run that had this seed")
    group.add_argument(
        "-f", "--rcfile", metavar="PATH", help="commands of the management shell, run at the start"
    )


def _add_life(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("management and life in the background")
    group.add_argument(
        "-M", "--mgmt", metavar="PATH", help="management shell on this Unix socket; see vswitchterm"
    )
    group.add_argument("--mgmtmode", default="0600", metavar="MODE", help="its permissions (default 0600)")
    group.add_argument("--progress", action="store_true", help="show rates every second")
    group.add_argument("--daemon", action="store_true", help="run in the background once the cable works")
    group.add_argument("--pidfile", metavar="PATH", help="write the process ID to this file")


def read_settings(arguments: argparse.Namespace) -> CableSettings:
    """Make settings from the parsed command line.

    Raises:
        SettingsError: a value is malformed, or they contradict themselves.
    """
    first, second = read_locators(arguments)
    settings = CableSettings(
        first=first,
        second=second,
        impairments=tuple(
            (name, text) for name in PARAMETERS for text in getattr(arguments, f"fault_{name}", [])
        ),
        fifo=not arguments.nofifo,
        seed=arguments.seed,
        rcfile=arguments.rcfile and os.path.abspath(arguments.rcfile),
        management=arguments.mgmt and os.path.abspath(arguments.mgmt),
        management_mode=_mode(arguments.mgmtmode),
        pidfile=arguments.pidfile and os.path.abspath(arguments.pidfile),
        progress=arguments.progress,
    )
    settings.make_wire()
    return settings


def _mode(text: str) -> int:
    if not re.fullmatch(r"[0-7]{1,4}", text) or int(text, 8) > 0o777:
        raise SettingsError(f"--mgmtmode {text!r} is not a file mode in octal, such as 0600")
    return int(text, 8)


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
    if first == "slirp" and ":/" in second:
        first, second = second, "slirp://"
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


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; give its exit status."""
    words = list(sys.argv[1:] if argv is None else argv)
    if words and words[0] in WORDS:
        from vport.wireguard_commands import run_word

        return run_word(words)
    if words[:1] == ["lan"] and (len(words) == 1 or not words[1].isdecimal()):  # "lan 9999": a server's name
        from vport.lan.cli import main as lan_main

        return lan_main(words[1:])
    parser = make_parser()
    arguments = parser.parse_args(words)
    if arguments.list:
        sys.stdout.write(explain())
        return ENDED_AS_ASKED
    set_up_logging("vport", level=logging.DEBUG if arguments.debug else logging.INFO)
    try:
        settings = read_settings(arguments)
    except SettingsError as error:
        refuse_usage(parser, error)
    daemon = None
    if arguments.daemon:
        daemon = detach()
        log_to_syslog("vport")
    # From here on, not before: what carries frames takes a while to load, and a wrong option is told at once.
    from vport.cable_program import run

    status = run_program(lambda: run(settings, daemon))
    if daemon is not None:
        daemon.end(status)
    return status


if __name__ == "__main__":
    sys.exit(main())
