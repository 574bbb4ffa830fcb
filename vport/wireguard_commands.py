"""The words of ``vport`` that have to do with keys: genkey, genpsk, pubkey as ``wg`` has them, and join."""

from __future__ import annotations

import argparse
import logging
import os
import stat
import sys
from typing import TYPE_CHECKING, Final

from vport.errors import SettingsError
from vport.locator import TapLocator, WireguardLocator
from vport.program import ENDED_AS_ASKED, WRONG_USAGE, refuse_usage, run_program, set_up_logging
from vport.readers import integer, interface_name
from vport.wireguard.keys import PresharedKey, PrivateKey

if TYPE_CHECKING:
    from collections.abc import Sequence

logger = logging.getLogger(__name__)

DEFAULT_TAP: Final = "tapyuan"
_LONGEST_TOKEN: Final = 4096


def run_word(words: Sequence[str]) -> int:
    """Run one of the words; give the exit status."""
    word, *rest = words
    if word == "join":
        return _join(rest)
    if rest:
        sys.stderr.write(f"usage: vport {word}\n")
        return WRONG_USAGE
    if word == "pubkey":
        return _print_public_key()
    kind = PrivateKey if word == "genkey" else PresharedKey
    _warn_of_open_file()
    sys.stdout.write(kind.generate(os.urandom).encode() + "\n")
    return ENDED_AS_ASKED


def _print_public_key() -> int:
    try:
        key = PrivateKey.parse(sys.stdin.read(_LONGEST_TOKEN))
    except SettingsError as error:
        sys.stderr.write(f"vport pubkey: standard input: {error}\n")
        return WRONG_USAGE
    sys.stdout.write(key.public.encode() + "\n")
    return ENDED_AS_ASKED


def _warn_of_open_file() -> None:
    """Say that a secret is about to be written where others can read it, as ``wg genkey`` does."""
    try:
        mode = os.fstat(sys.stdout.fileno()).st_mode
    except (OSError, ValueError):
        return
    if stat.S_ISREG(mode) and mode & stat.S_IRWXO:
        sys.stderr.write("warning: writing a key to a file that others can read; first: umask 077\n")


# --- join ---


def _join_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="vport join",
        description="Join a switch with the token that its peer/invite printed. The first time, a key of "
        "this machine's own takes the token's place; from then on the same command is enough, or the file "
        "that it names. Runs in the foreground until SIGINT or SIGTERM.",
        allow_abbrev=False,
    )
    parser.add_argument("token", metavar="TOKEN", help="the token, or - to read it from standard input")
    parser.add_argument(
        "--tap", default=DEFAULT_TAP, metavar="NAME", help="name of the TAP device (%(default)s)"
    )
    parser.add_argument("--mtu", metavar="N", help="MTU of the device (default: what fits the network below)")
    parser.add_argument("--debug", action="store_true", help="log what only a developer wants to know")
    return parser


def _join(words: list[str]) -> int:
    from vport.wireguard.invitation import decode_token

    parser = _join_parser()
    arguments = parser.parse_args(words)
    set_up_logging("vport", level=logging.DEBUG if arguments.debug else logging.INFO)
    try:
        text = sys.stdin.read(_LONGEST_TOKEN) if arguments.token == "-" else arguments.token
        invitation = decode_token(text)
        name = interface_name(arguments.tap)
        mtu = None if arguments.mtu is None else integer(68, 65521)(arguments.mtu)
    except SettingsError as error:
        refuse_usage(parser, error)

    async def run() -> None:
        from vport.cable_program import run as run_cable
        from vport.cable_settings import CableSettings
        from vport.links.wireguard_enrolment import join as enrol

        path, config = await enrol(invitation)
        place = WireguardLocator(file=str(path))
        device = TapLocator(name=name, mtu=mtu or config.mtu, address=config.addresses)
        logger.info("joined; the key is in %s. Without the token: vport %s %s", path, place, device)
        await run_cable(CableSettings(first=place, second=device))

    return run_program(run)
