"""What was made: a file for each LAN that is up, and one lock for all of them.

The file is written before and after each step, atomically, so that at any moment it names at least all that
is there. It lives in ``/run`` and is gone after a reboot, as is what it names.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from vport.errors import LinkError
from vport.files import read_text, write_text

if TYPE_CHECKING:
    from collections.abc import Iterator

DIRECTORY: Final = "/run/vswitch/lan"
SIZE_MAX: Final = 8 << 20  # bytes: the description and a line for each step
_SUFFIX: Final = ".json"


@dataclass(slots=True)
class Record:
    """A LAN that is up, or was begun.

    Attributes:
        name: of the LAN.
        description: the text of its file.
        steps: the steps that were begun, by key, in order: whether they were finished, and what undoing
            needs to know.
    """

    name: str
    description: str
    steps: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def is_complete(self) -> bool:
        """Whether no step broke off."""
        return all(step["done"] for step in self.steps.values())


class Store:
    """The records of this machine."""

    def __init__(self, directory: str = DIRECTORY) -> None:
        self.directory = directory

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Be the only one who builds or takes down; waits for others. Raises LinkError."""
        try:
            os.makedirs(self.directory, mode=0o755, exist_ok=True)
            descriptor = os.open(f"{self.directory}/.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise LinkError(f"cannot keep records in {self.directory}: {error.strerror}") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def path(self, name: str, suffix: str = _SUFFIX) -> str:
        """Give the path of a LAN's file."""
        return f"{self.directory}/{name}{suffix}"

    def names(self) -> list[str]:
        """Give the names of all LANs with a record."""
        try:
            found = os.listdir(self.directory)
        except FileNotFoundError:
            return []
        return sorted(one.removesuffix(_SUFFIX) for one in found if one.endswith(_SUFFIX))

    def load(self, name: str) -> Record | None:
        """Give the record of a LAN, None when it is not up. Raises LinkError."""
        path = self.path(name)
        try:
            values = json.loads(read_text(path, SIZE_MAX))
            return Record(name, values["description"], values["steps"])
        except FileNotFoundError:
            return None
        except OSError as error:
            raise LinkError(f"cannot read {path}: {error.strerror}") from error
        except (ValueError, KeyError, TypeError) as error:
            raise LinkError(f"{path} is not a record of vport lan: {error}") from error

    def save(self, record: Record) -> None:
        """Write a record. Raises LinkError."""
        values = {"description": record.description, "steps": record.steps}
        try:
            write_text(self.path(record.name), json.dumps(values, indent=1))
        except OSError as error:
            raise LinkError(f"cannot write {self.path(record.name)}: {error.strerror}") from error

    def remove(self, name: str) -> None:
        """Remove the record of a LAN."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path(name))
