"""The options of the command ``vswitch``; what becomes of them is in ``cli``.

All options of VDE's ``vde_switch`` are here with the same letters and names, read with the same habits
(``vport.long_only``), so that its command lines work unchanged. Where we differ on purpose: an unknown
option, a number that is none, an rcfile that is missing and a TAP that cannot be had are errors; ``-h``
ends with 0; numbers with a leading zero are decimal; ``--numports`` is 1024 unless said otherwise.
"""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING, Final

from vport._version import __version__
from vport.errors import SettingsError
from vport.locator import TapLocator, parse
from vport.long_only import LongOnlyParser
from vport.readers import file_path, integer, interface_name, station_address
from vswitch.config import DEFAULT_LISTENER, DEFAULT_PRIORITY, PRIORITY_MAX
from vswitch.config_file import file_mode
from vswitch.fdb import CAPACITY_MAX, FdbSettings
from vswitch.ports import DEFAULT_PORT_LIMIT, PORT_LIMIT_MAX

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

DESCRIPTION: Final = """\
A virtual Ethernet switch. Frames come in on ports and leave on the right ports: stations are learned by
their MAC addresses, unknown ones and groups are flooded. Ports are made by those who call a listener
(--listen), or by the switch itself (--attach).

Runs in the foreground until SIGINT or SIGTERM, or until the management shell is told to shut down; when
it is started at a terminal, its commands can be typed right there. With --daemon it runs in the
background, and the command returns when the switch is ready. SIGHUP reads the file of --config again and
makes the running switch what it says, then runs the rcfile again.
"""

EPILOG: Final = """\
Examples:
  vswitch 9999 --mgmt /tmp/vs.mgmt
      Serve raw UDP on all addresses. On another machine: sudo vport THIS-HOST 9999 --address 10.1.1.101/24
  vswitch --mgmt /tmp/vs.mgmt --attach host://10.1.1.1/24 --attach 'host://10.1.1.2/24?ping=10.1.1.1'
      A LAN of two simulated hosts, one pinging the other. No root needed.
  vswitch --sock /tmp/vde.ctl --mgmt /tmp/vs.mgmt
      Serve VDE's clients; then: vde_plug2tap -s /tmp/vde.ctl tap0
  vswitchterm /tmp/vs.mgmt port/print
      Ask it for its ports; without a command, an interactive console.
  printf 'hash/print\\nport/print\\n' | socat - UNIX-CONNECT:/tmp/vs.mgmt
      The same for scripts.

  vswitch --daemon --pidfile /run/vs.pid --mgmt /run/vs.mgmt --mgmtmode 660 --config /etc/vswitch/lan.toml
      A service without systemd; with systemd see examples/systemd.
  vswitchterm /tmp/vs.mgmt config/save /etc/vswitch/lan.toml
      Keep a running switch as it is: --config makes the same one again.
  kill -HUP $(cat /run/vs.pid)
      After an edit of lan.toml: make the running switch what it says. The log tells what changes.

Files:
  $XDG_CONFIG_HOME/vswitch/rc (or ~/.config/vswitch/rc), else /etc/vswitch/rc
      Commands run at start, unless --rcfile names another file; # begins a comment. What fails is logged.

Options may be written as vde_switch takes them: -daemon, -mgmt PATH, and any beginning that is unique.

Locators (see also: vport --list):
  udp://HOST:PORT, tap://NAME, host://ADDRESS/PREFIX, vde://DIRECTORY, tcp://HOST:PORT, unix://PATH,
  unixgram://PATH, stdio:, cmd:COMMAND, with options as in tap://tap0?mtu=1400

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


def _number(low: int, high: int) -> Callable[[str], int]:
    """Make a reader of numbers, decimal or with 0x."""
    read_decimal = integer(low, high)

    def read(text: str) -> int:
        try:
            return read_decimal(str(int(text, 16)) if text.lower().startswith("0x") else text)
        except ValueError:
            return read_decimal(text)

    return read


def _hash_size(text: str) -> int:
    """Read a number of buckets, rounded up to a power of two as VDE does."""
    size = _number(0, CAPACITY_MAX)(text)
    return 1 << max(0, size - 1).bit_length()


def _tap(text: str) -> TapLocator:
    return TapLocator(name=interface_name(text))


def _path(text: str) -> str:
    """Read a path that still means the same when the working directory changes."""
    if not text or "\0" in text:
        raise SettingsError(f"{text!r} is not a path")
    return os.path.abspath(text)


def make_parser() -> LongOnlyParser:
    """Describe the command line; an option that was not given is None, so that a file may say it."""
    parser = LongOnlyParser(
        prog="vswitch",
        usage="vswitch [options] [PORT]",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    _add_switch_options(parser)
    _add_link_options(parser.add_argument_group("links"))
    add_vde_options(parser)
    _add_management_options(parser.add_argument_group("management shell"))
    _add_program_options(parser.add_argument_group("running"))
    return parser


def _add_switch_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-v", "--version", action="version", version=f"vswitch {__version__}")
    parser.add_argument(
        "--config", type=_reader(_path), metavar="FILE",
        help="TOML file that says what the switch is; options override what it says",
    )  # fmt: skip
    parser.add_argument(
        "-n", "--numports", type=_reader(_number(1, PORT_LIMIT_MAX)), metavar="N",
        help=f"the most ports there can be (default {DEFAULT_PORT_LIMIT})",
    )  # fmt: skip
    parser.add_argument("-x", "--hub", action="store_true", help="be a hub: every frame goes everywhere")
    parser.add_argument("-F", "--fstp", action="store_true", help="run the spanning tree, unless a hub")
    parser.add_argument(
        "--macaddr",
        type=_reader(station_address),
        metavar="MAC",
        help="the switch's own address (default: drawn)",
    )
    parser.add_argument(
        "--priority", type=_reader(_number(0, PRIORITY_MAX)), metavar="N",
        help=f"the switch's priority in the spanning tree (default {DEFAULT_PRIORITY:#x})",
    )  # fmt: skip
    parser.add_argument(
        "--hashsize", type=_reader(_hash_size), metavar="N",
        help="the order of hash/print, as in VDE; see --fdb-size",
    )  # fmt: skip
    parser.add_argument(
        "--fdb-size", type=_reader(_number(1, CAPACITY_MAX)), metavar="N",
        help=f"the most stations that are remembered (default {FdbSettings().capacity})",
    )  # fmt: skip


def _add_link_options(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "port", nargs="?", type=_reader(integer(1, 65535)), metavar="PORT",
        help="serve raw UDP on this port of all addresses: short for --listen udp://:PORT",
    )  # fmt: skip
    group.add_argument(
        "-l", "--listen", action="append", default=[], type=_reader(parse), metavar="LOCATOR",
        help=f"serve those who call; repeatable (without any: {DEFAULT_LISTENER})",
    )  # fmt: skip
    group.add_argument(
        "-a", "--attach", action="append", default=[], type=_reader(parse), metavar="LOCATOR",
        help="open a link and plug it into the next free port; repeatable",
    )  # fmt: skip
    group.add_argument(
        "-t", "--tap", action="append", dest="attach", type=_reader(_tap), metavar="IF",
        help="short for --attach tap://IF; repeatable",
    )  # fmt: skip


def add_vde_options(parser: argparse.ArgumentParser) -> None:
    """Describe the control directory for VDE's clients, with the letters that vde_switch has."""
    group = parser.add_argument_group("clients of VDE: vde_plug, vde_plug2tap, slirpvde, QEMU -netdev vde")
    group.add_argument(
        "-s", "--sock", "--vdesock", "--unix", type=_reader(file_path), metavar="DIR",
        help="serve this control directory: short for --listen vde://DIR?mode=…",
    )  # fmt: skip
    group.add_argument(
        "-m",
        "--mode",
        type=_reader(file_mode),
        metavar="MODE",
        help="permissions of its sockets, octal (default 0600)",
    )
    group.add_argument(
        "--dirmode",
        type=_reader(file_mode),
        metavar="MODE",
        help="permissions of the directory (default: made from --mode)",
    )
    group.add_argument("-g", "--group", metavar="GROUP", help="group of the directory and its sockets")


def _add_management_options(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "-M",
        "--mgmt",
        type=_reader(_path),
        metavar="PATH",
        help="listen on this Unix socket; see vswitchterm",
    )
    group.add_argument(
        "--mgmtmode", type=_reader(file_mode), metavar="MODE", help="its permissions, octal (default 0600)"
    )
    group.add_argument("--mgmtgroup", metavar="GROUP", help="its group")
    group.add_argument(
        "-D", "--debugclients", type=_reader(_number(0, 1 << 31)), metavar="N",
        help="accepted for VDE's sake: every session may ask for messages",
    )  # fmt: skip


def _add_program_options(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "-d", "--daemon", action="store_true", help="run in the background; returns when the switch is ready"
    )
    group.add_argument(
        "-p", "--pidfile", type=_reader(_path), metavar="FILE", help="keep the PID there while running"
    )
    group.add_argument(
        "-f", "--rcfile", type=_reader(_path), metavar="FILE",
        help="run the commands in this file at start, and again on SIGHUP",
    )  # fmt: skip
    group.add_argument("--nostdin", action="store_true", help="read no commands from the terminal")
    group.add_argument("--debug", action="store_true", help="log what only a developer wants to know")
