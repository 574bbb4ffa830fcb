"""The command ``vport lan``: up, down, show."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from typing import TYPE_CHECKING, Final

from vport.errors import LinkError, SettingsError
from vport.files import read_text
from vport.lan.builder import Builder, recorded
from vport.lan.description import lan_name, read_lan
from vport.lan.picture import picture
from vport.lan.plan import RunCable
from vport.lan.state import DIRECTORY, Store
from vport.program import ENDED_AS_ASKED, FAILED, WRONG_USAGE
from vport.toml_fields import SIZE_MAX

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import NoReturn

VERBS: Final = ("up", "down", "show")

DESCRIPTION: Final = """\
A LAN on this machine, described in a TOML file: bridges, network namespaces on them, the way out (NAT), ports
forwarded in, TAP devices tied to other machines.

  vport lan up FILE          build what is not there yet; a second time changes nothing
  vport lan down FILE|NAME   remove exactly what was built, also after up was killed in the middle
  vport lan show [FILE|NAME] draw it; without a name, all that are up
"""


def make_parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = argparse.ArgumentParser(
        prog="vport lan",
        usage="vport lan up FILE | vport lan down FILE|NAME | vport lan show [FILE|NAME]",
        description=DESCRIPTION,
        epilog="Exit status: 0 done, 1 failed, 2 wrong usage. What is in a file: examples/lan-from-scratch.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("verb", choices=VERBS, metavar="up|down|show", help="what to do")
    parser.add_argument("place", nargs="?", metavar="FILE|NAME", help="a file that ends in .toml, or a name")
    parser.add_argument(
        "--state", default=DIRECTORY, metavar="DIR", help=f"where records are kept (default {DIRECTORY})"
    )
    parser.add_argument("-q", "--quiet", action="store_true", help="say only what goes wrong")
    return parser


def main(argv: Sequence[str]) -> int:
    """Run the command; give its exit status."""
    parser = make_parser()
    arguments = parser.parse_args(argv)
    if arguments.place is None and arguments.verb != "show":
        parser.error(f"{arguments.verb}: which one? Name its file")
    program = _Program(Store(os.path.abspath(arguments.state)), is_quiet=arguments.quiet)
    signal.signal(signal.SIGTERM, _end)
    try:
        getattr(program, arguments.verb)(arguments.place)
    except SettingsError as error:
        return _fail(error, WRONG_USAGE)
    except LinkError as error:
        return _fail(error, FAILED)
    except KeyboardInterrupt:
        return FAILED
    return ENDED_AS_ASKED


def _end(number: int, frame: object) -> NoReturn:
    """Let SIGTERM undo what was begun, as an error does."""
    raise KeyboardInterrupt


def _fail(error: Exception, status: int) -> int:
    sys.stderr.write(f"vport lan: {error}\n")
    return status


class _Program:
    """The three verbs."""

    def __init__(self, store: Store, *, is_quiet: bool) -> None:
        self._store = store
        self._is_quiet = is_quiet

    def up(self, path: str) -> None:
        """Build a LAN."""
        builder = self._described(path)
        _require_root(f"vport lan up {path}")
        with self._store.locked():
            if not builder.up():
                self._say(f"{builder.lan.name} is up already")

    def down(self, place: str) -> None:
        """Take a LAN down, as its record says: the file may have changed since."""
        name = self._described(place).lan.name if place.endswith(".toml") else lan_name(place)
        _require_root(f"vport lan down {place}")
        with self._store.locked():
            builder = recorded(self._store, name, self._say)
            if builder is None or not builder.down():
                self._say(f"{name} is not up")

    def show(self, place: str | None) -> None:
        """Draw a LAN, or all."""
        if place is not None and place.endswith(".toml"):
            found = [self._described(place)]
        else:
            names = self._store.names() if place is None else [lan_name(place)]
            found = [one for name in names if (one := recorded(self._store, name, self._say)) is not None]
            if place is not None and not found:
                raise LinkError(f"{place} is not up (see: vport lan show)")
        for builder in found:
            sys.stdout.write(picture(builder.lan, _marks(builder, self._store)))

    def _described(self, path: str) -> Builder:
        try:
            text = read_text(path, SIZE_MAX)
        except OSError as error:
            raise SettingsError(f"cannot read {path}: {error.strerror}") from error
        return Builder(read_lan(text, path), text, self._store, self._say)

    def _say(self, line: str) -> None:
        if not self._is_quiet:
            sys.stdout.write(f"{line}\n")
            sys.stdout.flush()


def _require_root(command: str) -> None:
    if os.geteuid() != 0:
        raise LinkError(f"building networks needs root: sudo {command}")


def _marks(builder: Builder, store: Store) -> Callable[[str], str]:
    """Give what says of a step whether what it makes is there."""
    steps = {step.key: step for step in builder.plan}
    record = store.load(builder.lan.name)

    def mark(key: str) -> str:
        step = steps[key]
        if record is None or key not in record.steps:
            return "  [not built]"
        if isinstance(step, RunCable):
            pids = builder.machine.pids(step)
            return f" (process {pids[0]})" if pids else "  [not running]"
        if os.geteuid() == 0 and not builder.machine.has(step):
            return "  [missing]"
        return ""

    return mark
