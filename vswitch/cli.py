"""The command ``vswitch``: how its options (``options``) become settings, and what it runs."""

from __future__ import annotations

import logging
import os
import sys
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar

from vport.daemon import detach, log_to_syslog
from vport.errors import SettingsError
from vport.files import read_text
from vport.locator import Locator, TcpLocator, UdpLocator, VdeLocator
from vport.private_files import look_who_may_read
from vport.program import FAILED, refuse_usage, run_program, set_up_logging
from vport.toml_fields import SIZE_MAX
from vswitch.config import DEFAULT_LISTENER, ManagementSettings, SwitchSettings
from vswitch.config_file import read_config
from vswitch.fdb import FdbSettings
from vswitch.options import make_parser
from vswitch.systemd import Supervisor
from vswitch.terminal import is_usable

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping, Sequence
    from typing import Any

logger = logging.getLogger(__name__)

_LOOPBACK: Final = ("127.", "::1", "localhost")
_STANDARD_INPUT: Final = 0
_Settings = TypeVar("_Settings", SwitchSettings, FdbSettings, ManagementSettings)
SYSTEM_RCFILE: Final = "/etc/vswitch/rc"


def vde_listener(arguments: argparse.Namespace) -> list[Locator]:
    """Give the locator that the options for VDE stand for, none without ``--sock``.

    Raises:
        SettingsError: options without ``--sock``.
    """
    if arguments.sock is not None:
        return [
            VdeLocator(
                path=arguments.sock, mode=arguments.mode, dirmode=arguments.dirmode, group=arguments.group
            )
        ]
    for name in ("mode", "dirmode", "group"):
        if getattr(arguments, name) is not None:
            raise SettingsError(f"--{name} goes with --sock DIR")
    return []


def read_settings(arguments: argparse.Namespace) -> SwitchSettings:
    """Make settings from the configuration file, if one is named, and the options that were given.

    Raises:
        SettingsError: the file is wrong, or the options contradict it or themselves.
    """
    settings = SwitchSettings(listen=(DEFAULT_LISTENER,))
    if arguments.config is not None:
        settings = read_config(_read_file(arguments.config, SIZE_MAX), arguments.config)
        if settings.has_secrets:
            look_who_may_read(arguments.config)
    listen: list[Locator] = [] if arguments.port is None else [UdpLocator(host="", port=arguments.port)]
    listen += vde_listener(arguments)
    listen += arguments.listen
    given = {
        "listen": tuple(listen) or None,
        "wireguard": () if listen else None,
        "attach": tuple(arguments.attach) or None,
        "management": _management(arguments, settings.management),
        "mac": arguments.macaddr,
        "is_hub": arguments.hub or None,
        "is_fstp": arguments.fstp or None,
        "priority": arguments.priority,
        "port_limit": arguments.numports,
        "fdb": _replaced(settings.fdb, capacity=arguments.fdb_size, buckets=arguments.hashsize),
    }
    return _replaced(settings, **given)


def _reread(arguments: argparse.Namespace) -> SwitchSettings:
    """Read the configuration file again, under the same options. Raises SettingsError."""
    settings = read_settings(arguments)
    warn_of_open_doors(settings)
    return settings


def _replaced(settings: _Settings, **given: Any) -> _Settings:  # noqa: ANN401 - as dataclasses.replace
    """Give ``settings`` with the values that were given, None standing for those that were not."""
    return replace(settings, **{name: value for name, value in given.items() if value is not None})


def _management(arguments: argparse.Namespace, base: ManagementSettings | None) -> ManagementSettings | None:
    if base is None:
        if arguments.mgmt is None:
            return None
        base = ManagementSettings(path=arguments.mgmt)
    return _replaced(base, path=arguments.mgmt, mode=arguments.mgmtmode, group=arguments.mgmtgroup)


def _read_file(path: str, limit: int) -> str:
    try:
        return read_text(path, limit)
    except OSError as error:
        raise SettingsError(f"cannot read {path}: {error.strerror}") from None


def find_rcfile(named: str | None, environment: Mapping[str, str]) -> str | None:
    """Give the path of the script to run at start: the one named, or the first that exists, or None.

    Raises:
        SettingsError: the one that was named cannot be read.
    """
    if named is not None:
        _read_file(named, SIZE_MAX)
        return named
    base = environment.get("XDG_CONFIG_HOME", "")
    if not os.path.isabs(base):
        base = os.path.expanduser("~/.config")
    candidates = (os.path.join(base, "vswitch", "rc"), SYSTEM_RCFILE)
    return next((path for path in candidates if os.path.isfile(path)), None)


def warn_of_open_doors(settings: SwitchSettings) -> None:
    """Say that raw UDP and TCP ask nobody who he is, where others than this machine can send to them."""
    for locator in settings.listen:
        if isinstance(locator, UdpLocator | TcpLocator) and not locator.host.startswith(_LOOPBACK):
            logger.warning(
                "%s authenticates nobody: whoever reaches %s port %d is on this LAN",
                locator,
                locator.scheme.upper(),
                locator.port,
            )


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; give its exit status."""
    parser = make_parser()
    arguments = parser.parse_args(argv)
    set_up_logging("vswitch", level=logging.DEBUG if arguments.debug else logging.INFO)
    try:
        settings = read_settings(arguments)
        rcfile = find_rcfile(arguments.rcfile, os.environ)
        supervisor = Supervisor.from_environment(os.environ, os.getpid())
    except SettingsError as error:
        refuse_usage(parser, error)
    warn_of_open_doors(settings)
    daemon = None
    if arguments.daemon:
        daemon = detach()
        log_to_syslog("vswitch")
    # From here on, not before: what carries frames takes a while to load, and a wrong option is told at once.
    from vswitch.program import ProgramSettings, serve

    program = ProgramSettings(
        reread=None if arguments.config is None else partial(_reread, arguments),
        rcfile=rcfile,
        pidfile=arguments.pidfile,
        has_console=not (arguments.daemon or arguments.nostdin) and is_usable(_STANDARD_INPUT),
        supervisor=supervisor,
        daemon=daemon,
    )
    status = FAILED
    try:
        status = run_program(lambda: serve(settings, program))
    finally:
        if daemon is not None:
            daemon.end(status)
    return status


if __name__ == "__main__":
    sys.exit(main())
