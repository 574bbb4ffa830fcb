"""The command ``vswitch``: its options, and how they become settings."""

from __future__ import annotations

import argparse
import logging
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from vport._version import __version__
from vport.errors import SettingsError
from vport.locator import Locator, UdpLocator, integer, parse, station_address
from vport.program import refuse_usage, run_program, set_up_logging
from vswitch.config import DEFAULT_PRIORITY, PRIORITY_MAX, ManagementSettings, SwitchSettings
from vswitch.fdb import FdbSettings
from vswitch.ports import DEFAULT_PORT_LIMIT, PORT_LIMIT_MAX
from vswitch.service import SwitchService

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from vport.ethernet import MacAddress

logger = logging.getLogger(__name__)

DEFAULT_LISTENER: Final = UdpLocator(host="127.0.0.1", port=9999)
_LOOPBACK: Final = ("127.", "::1", "localhost")

DESCRIPTION: Final = """\
A virtual Ethernet switch. Frames come in on ports and leave on the right ports: stations are learned by
their MAC addresses, unknown ones and groups are flooded. Ports are made by those who call a listener
(--listen), or by the switch itself (--attach).

Runs in the foreground until SIGINT or SIGTERM, or until the management shell is told to shut down.
"""

EPILOG: Final = """\
Examples:
  vswitch 9999 --mgmt /tmp/vs.mgmt
      Serve raw UDP on all addresses. On another machine: sudo vport THIS-HOST 9999 --address 10.1.1.101/24
  vswitch --mgmt /tmp/vs.mgmt --attach host://10.1.1.1/24 --attach 'host://10.1.1.2/24?ping=10.1.1.1'
      A LAN of two simulated hosts, one pinging the other. No root needed.
  vswitchterm /tmp/vs.mgmt port/print
      Ask it for its ports; without a command, an interactive console.
  printf 'hash/print\\nport/print\\n' | socat - UNIX-CONNECT:/tmp/vs.mgmt
      The same for scripts.

Locators (see also: vport --list):
  udp://HOST:PORT, tap://NAME, host://ADDRESS/PREFIX, with options as in tap://tap0?mtu=1400

Exit status: 0 ended as asked, 1 failed, 2 wrong usage.
"""


def _reader(read: Callable[[str], Any]) -> Callable[[str], Any]:
    """Let argparse show what a reader complains of."""

    def read_argument(text: str) -> object:
        try:
            return read(text)
        except SettingsError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return read_argument


def _mode(text: str) -> int:
    try:
        mode = int(text, 8)
    except ValueError:
        mode = -1
    if not 0 <= mode <= 0o777:
        raise argparse.ArgumentTypeError(f"{text!r} is not a file mode in octal, such as 0600")
    return mode


def make_parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = argparse.ArgumentParser(
        prog="vswitch",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "port", nargs="?", type=_reader(integer(1, 65535)), metavar="PORT",
        help="serve raw UDP on this port of all addresses: short for --listen udp://:PORT",
    )  # fmt: skip
    parser.add_argument(
        "-l", "--listen", action="append", default=[], type=_reader(parse), metavar="LOCATOR",
        help=f"serve those who call; repeatable (without any: {DEFAULT_LISTENER})",
    )  # fmt: skip
    parser.add_argument(
        "-a", "--attach", action="append", default=[], type=_reader(parse), metavar="LOCATOR",
        help="open a link and plug it into the next free port; repeatable",
    )  # fmt: skip
    parser.add_argument(
        "-n", "--numports", type=_reader(integer(1, PORT_LIMIT_MAX)), default=DEFAULT_PORT_LIMIT, metavar="N",
        help="the most ports there can be (default %(default)s)",
    )  # fmt: skip
    parser.add_argument("-x", "--hub", action="store_true", help="be a hub: every frame goes everywhere")
    parser.add_argument("-F", "--fstp", action="store_true", help="run the spanning tree, unless a hub")
    parser.add_argument(
        "--priority", type=_reader(integer(0, PRIORITY_MAX)), default=DEFAULT_PRIORITY, metavar="N",
        help=f"the switch's priority in the spanning tree (default {DEFAULT_PRIORITY:#x})",
    )  # fmt: skip
    parser.add_argument(
        "--macaddr",
        type=_reader(station_address),
        metavar="MAC",
        help="the switch's own address (default: drawn)",
    )
    parser.add_argument(
        "--fdb-size", type=_reader(integer(1, 1 << 20)), default=FdbSettings().capacity, metavar="N",
        help="the most stations that are remembered (default %(default)s)",
    )  # fmt: skip
    group = parser.add_argument_group("management shell")
    group.add_argument("-M", "--mgmt", metavar="PATH", help="listen on this Unix socket; see vswitchterm")
    group.add_argument(
        "--mgmtmode", type=_mode, default=0o600, metavar="MODE", help="its permissions, octal (default 0600)"
    )
    group.add_argument("--mgmtgroup", metavar="GROUP", help="its group")
    parser.add_argument("--debug", action="store_true", help="log what only a developer wants to know")
    parser.add_argument("-v", "--version", action="version", version=f"vswitch {__version__}")
    return parser


def read_settings(arguments: argparse.Namespace) -> SwitchSettings:
    """Make settings from the parsed command line.

    Raises:
        SettingsError: they contradict themselves.
    """
    listen: list[Locator] = list(arguments.listen)
    if arguments.port is not None:
        listen.insert(0, UdpLocator(host="", port=arguments.port))
    management = None
    if arguments.mgmt is not None:
        management = ManagementSettings(
            path=arguments.mgmt, mode=arguments.mgmtmode, group=arguments.mgmtgroup
        )
    mac: MacAddress | None = arguments.macaddr
    return SwitchSettings(
        listen=tuple(listen) or (DEFAULT_LISTENER,),
        attach=tuple(arguments.attach),
        management=management,
        mac=mac,
        is_hub=arguments.hub,
        is_fstp=arguments.fstp,
        priority=arguments.priority,
        port_limit=arguments.numports,
        fdb=FdbSettings(capacity=arguments.fdb_size),
    )


def warn_of_open_doors(settings: SwitchSettings) -> None:
    """Say that raw UDP asks nobody who he is, where others than this machine can send to it."""
    for locator in settings.listen:
        if isinstance(locator, UdpLocator) and not locator.host.startswith(_LOOPBACK):
            logger.warning(
                "%s authenticates nobody: whoever reaches UDP port %d is on this LAN", locator, locator.port
            )


def tell_what_to_type(path: str) -> None:
    """Name the command that opens a console on this switch, as the reader of the log can type it."""
    beside = Path(sys.argv[0]).with_name("vswitchterm")
    command = "vswitchterm" if shutil.which("vswitchterm") or not beside.exists() else str(beside)
    logger.info("to look inside, type in another terminal: %s %s", command, path)


async def serve(settings: SwitchSettings) -> None:
    """Run a switch until it is told to stop, or cancelled."""
    import trio

    service = SwitchService(settings)
    async with trio.open_nursery() as nursery:
        await nursery.start(service.run)
        if service.management is not None:
            tell_what_to_type(service.management.path)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; give its exit status."""
    parser = make_parser()
    arguments = parser.parse_args(argv)
    set_up_logging("vswitch", level=logging.DEBUG if arguments.debug else logging.INFO)
    try:
        settings = read_settings(arguments)
    except SettingsError as error:
        refuse_usage(parser, error)
    warn_of_open_doors(settings)
    return run_program("vswitch", lambda: serve(settings))


if __name__ == "__main__":
    sys.exit(main())
