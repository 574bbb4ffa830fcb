"""Finds the class of a plugin: one that comes with the switch, one behind an entry point, one in a file."""

from __future__ import annotations

import errno
import importlib
import importlib.metadata
import importlib.util
import itertools
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

from vport.errors import CommandError
from vport.shell.arguments import quoted
from vswitch.plugins.api import Plugin

if TYPE_CHECKING:
    from types import ModuleType

ENTRY_POINTS: Final = "vswitch.plugins"
BUILT_IN: Final = {"dump": "vswitch.plugins.dump", "iplog": "vswitch.plugins.iplog"}

_NUMBERS = itertools.count()  # a file loaded again is another module


def find_plugin(name: str) -> type[Plugin]:
    """Find a plugin by name, or by the path of its file: what ends in ``.py`` or has a slash.

    Imports code, which may take its time.

    Raises:
        CommandError: ENOENT, there is none; EINVAL, it cannot be imported or is no plugin.
    """
    if _is_path(name):
        return _plugin_in(_import_file(Path(name).expanduser()), name)
    if name in BUILT_IN:
        return _plugin_in(_import_module(BUILT_IN[name]), name)
    for entry in importlib.metadata.entry_points(group=ENTRY_POINTS, name=name):
        try:
            found = entry.load()
        except Exception as error:
            raise _broken(name, error) from error
        return _checked(found, name)
    known = ", ".join(sorted({*BUILT_IN, *_entry_point_names()}))
    raise CommandError(
        errno.ENOENT, f"there is no plugin {quoted(name)}; there are: {known}, or a file's path"
    )


def source_of(name: str) -> str:
    """Give a name as it is, and the path of a file in full: it is to mean the same anywhere."""
    return os.path.abspath(os.path.expanduser(name)) if _is_path(name) else name


def _is_path(name: str) -> bool:
    return name.endswith(".py") or "/" in name


def _entry_point_names() -> set[str]:
    return {entry.name for entry in importlib.metadata.entry_points(group=ENTRY_POINTS)}


def _import_module(name: str) -> ModuleType:
    return importlib.import_module(name)


def _import_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise CommandError(errno.ENOENT, f"there is no file {path}")
    if path.suffix != ".py":  # VDE's own plugins, shared libraries, cannot work here
        raise CommandError(errno.EINVAL, f"{path} is no Python file: its name must end in .py")
    name = f"vswitch_plugin_{next(_NUMBERS)}_{re.sub(r'[^a-zA-Z0-9]', '_', path.stem)}"
    specification = importlib.util.spec_from_file_location(name, path)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    try:
        specification.loader.exec_module(module)
    except Exception as error:
        raise _broken(str(path), error) from error
    return module


def _plugin_in(module: ModuleType, name: str) -> type[Plugin]:
    """Find the one plugin that a module defines."""
    found = [
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Plugin) and value.__module__ == module.__name__
    ]
    if len(found) != 1:
        raise CommandError(
            errno.EINVAL, f"{name} defines {len(found)} subclasses of vswitch.plugins.Plugin, not one"
        )
    return _checked(found[0], name)


def _checked(found: object, name: str) -> type[Plugin]:
    if not (isinstance(found, type) and issubclass(found, Plugin)):
        raise CommandError(errno.EINVAL, f"{name} is no subclass of vswitch.plugins.Plugin")
    for attribute in ("name", "help"):
        if not isinstance(getattr(found, attribute, None), str):
            raise CommandError(errno.EINVAL, f"{name} does not say its {attribute}")
    return found


def _broken(name: str, error: Exception) -> CommandError:
    return CommandError(errno.EINVAL, f"{name} cannot be imported: {type(error).__name__}: {error}")
