"""Command lines as ``getopt_long_only`` reads them: long options with one dash or two, unique prefixes.

VDE's programs read theirs so, and scripts use it: ``vde_switch -daemon -sock /run/lan.ctl``. The rules are
glibc's (getopt(3)):

* ``-name`` and ``--name`` name the same long option, with ``=VALUE`` or the value in the next word; a
  prefix that only one option has will do.
* A single letter after one dash is a short option; so are more letters that no long option begins with:
  ``-n8``, ``-xF``, ``-M/run/mgmt``.
* An option that takes a value takes the next word, whatever it begins with.
* ``--`` ends the options.

What is found is handed to argparse in one form, ``--name=VALUE``, which is not open to interpretation.
"""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_Namespace = TypeVar("_Namespace")


class LongOnlyParser(argparse.ArgumentParser):
    """An ``ArgumentParser`` with the habits of ``getopt_long_only``; every short option needs a long one."""

    def parse_known_args(  # type: ignore[override] # argparse's overloads say the same in three steps
        self, args: Sequence[str] | None = None, namespace: _Namespace | None = None
    ) -> tuple[_Namespace | argparse.Namespace, list[str]]:
        """Parse; what argparse itself calls for ``parse_args`` too."""
        words = sys.argv[1:] if args is None else list(args)
        parsed: tuple[_Namespace | argparse.Namespace, list[str]] = super().parse_known_args(
            self.canonical(words), namespace
        )
        return parsed

    def canonical(self, words: Sequence[str]) -> list[str]:
        """Write a command line without abbreviations and one-dash options, positional arguments last."""
        options: list[str] = []
        positional: list[str] = []
        rest = iter(words)
        for word in rest:
            if word == "--":
                positional += rest
            elif word.startswith("-") and len(word) > 1:
                options += self._read_option(word, rest)
            else:
                positional.append(word)
        return [*options, "--", *positional] if positional else options

    def _read_option(self, word: str, rest: Iterator[str]) -> list[str]:
        """Give the canonical form of what ``word`` begins; a value may be the next of ``rest``."""
        is_double = word.startswith("--")
        name, equals, value = word.lstrip("-").partition("=")
        short = self._option_string_actions.get(word[:2])
        if is_double or len(word) > 2 or short is None:
            found = self._find_long(word, name)
            if found is not None:
                return [self._with_value(found, value if equals else None, rest)]
        if is_double or short is None:
            return [word]  # argparse refuses it and shows the usage
        return self._read_letters(word[1:], rest)

    def _read_letters(self, letters: str, rest: Iterator[str]) -> list[str]:
        """Read ``xF`` as two flags, ``n8`` as one option with its value."""
        found: list[str] = []
        for position, letter in enumerate(letters):
            action = self._option_string_actions.get(f"-{letter}")
            if action is None:
                self.error(f"unknown option -{letter} in -{letters}")
            if action.nargs != 0:
                return [*found, self._with_value(action, letters[position + 1 :] or None, rest)]
            found.append(_long_name(action))
        return found

    def _find_long(self, word: str, name: str) -> argparse.Action | None:
        """Find the long option of that name, or the only one that begins with it."""
        exact = self._option_string_actions.get(f"--{name}")
        if exact is not None:
            return exact
        names = [known for known in self._option_string_actions if known.startswith(f"--{name}")]
        actions = {
            id(self._option_string_actions[known]): self._option_string_actions[known] for known in names
        }
        if len(actions) > 1:
            self.error(f"{word} is ambiguous: {', '.join(sorted(names))}")
        return next(iter(actions.values()), None)

    @staticmethod
    def _with_value(action: argparse.Action, value: str | None, rest: Iterator[str]) -> str:
        """Give ``--name=VALUE``; without the value where there is none, which argparse then complains of."""
        if value is None and action.nargs != 0:
            value = next(rest, None)
        return _long_name(action) if value is None else f"{_long_name(action)}={value}"


def _long_name(action: argparse.Action) -> str:
    return next(name for name in action.option_strings if name.startswith("--"))
