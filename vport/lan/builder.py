"""Up and down: the steps of a LAN done in order and undone in the opposite order, with a record of each.

Nothing is touched before it is known that all names are free. What breaks off is undone; what is killed
leaves a record by which ``down`` undoes it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vport.errors import LinkError, VswitchError
from vport.lan.description import read_lan
from vport.lan.machine import Machine
from vport.lan.plan import Forward, RunCable, make_plan
from vport.lan.state import Record

if TYPE_CHECKING:
    from collections.abc import Callable

    from vport.lan.description import Lan
    from vport.lan.plan import Step
    from vport.lan.state import Store


class Builder:
    """Builds one LAN, and takes it down.

    Args:
        lan: what is to be there.
        description: the text of its file.
        store: where records are kept.
        report: gets a line for people for each thing that changes.
    """

    def __init__(self, lan: Lan, description: str, store: Store, report: Callable[[str], None]) -> None:
        self.lan = lan
        self.plan = make_plan(lan)
        self.machine = Machine(lan.netns, lambda tap: store.path(f"{lan.name}.{tap}", ".pid"))
        self._description = description
        self._store = store
        self._report = report

    def up(self) -> bool:
        """Build what is not there yet; give whether anything was.

        Raises:
            LinkError: it is up with another description, a name is taken by somebody else, or a step
                failed; a LAN that was not up before is then undone.
        """
        record = self._store.load(self.lan.name)
        is_new = record is None
        if record is None:
            record = Record(self.lan.name, self._description)
        elif make_plan(read_lan(record.description, "the record")) != self.plan:
            raise LinkError(f"{self.lan.name} is up as another file described it: first take it down")
        self._refuse_taken(record)
        if self.lan.nat is not None:
            self.machine.require_device(self.lan.nat.outside)
        try:
            changes = [self._do(step, record) for step in self.plan]
        except BaseException:
            if is_new:
                self._undo(record)
            raise
        return any(changes)

    def _refuse_taken(self, record: Record) -> None:
        """Raise LinkError if a name that is to be ours exists and is not."""
        taken = [
            step.key
            for step in self.plan
            if step.key not in record.steps and not isinstance(step, Forward) and self.machine.has(step)
        ]
        if taken:
            raise LinkError(
                f"{self.lan.name}: these exist and are not ours, nothing was touched: {', '.join(taken)}"
            )

    def _do(self, step: Step, record: Record) -> bool:
        known = record.steps.get(step.key)
        was_there = known is not None and known["done"] and self._is_alive(step)
        if known is None:
            record.steps[step.key] = {"done": False, "memory": self.machine.memory(step)}
            self._store.save(record)
        self.machine.do(step)
        if was_there:
            return False
        record.steps[step.key]["done"] = True
        self._store.save(record)
        self._report(f"made {step.key}")
        return True

    def _is_alive(self, step: Step) -> bool:
        return bool(self.machine.pids(step)) if isinstance(step, RunCable) else self.machine.has(step)

    def down(self) -> bool:
        """Remove what the record names and nothing else; give whether there was one.

        Raises:
            LinkError: something could not be removed; all else was, and the record names the rest.
        """
        record = self._store.load(self.lan.name)
        if record is None:
            return False
        self._undo(record)
        return True

    def _undo(self, record: Record) -> None:
        failures = []
        for step in reversed(self.plan):
            if step.key not in record.steps:
                continue
            try:
                self._undo_step(step, record)
            except LinkError as error:
                failures.append(str(error))
                continue
            del record.steps[step.key]
            self._store.save(record)
            self._report(f"removed {step.key}")
        if failures:
            raise LinkError("; ".join(failures))
        self._store.remove(record.name)

    def _undo_step(self, step: Step, record: Record) -> None:
        memory = record.steps[step.key]["memory"]
        if isinstance(step, Forward) and self._bequeath(step, memory):
            return
        self.machine.undo(step, memory)

    def _bequeath(self, step: Forward, memory: dict[str, object]) -> bool:
        """Leave forwarding on while another LAN of this machine needs it, which then turns it off."""
        for name in self._store.names():
            other = self._store.load(name)
            if name == self.lan.name or other is None or step.key not in other.steps:
                continue
            if read_lan(other.description, name).netns != self.lan.netns:
                continue
            theirs = other.steps[step.key]["memory"]
            theirs["was_on"] = bool(theirs.get("was_on", True) and memory.get("was_on", True))
            self._store.save(other)
            return True
        return False


def recorded(store: Store, name: str, report: Callable[[str], None]) -> Builder | None:
    """Give the builder of a LAN that is up, by its record; None when it is not. Raises LinkError."""
    record = store.load(name)
    if record is None:
        return None
    try:
        lan = read_lan(record.description, store.path(name))
    except VswitchError as error:
        raise LinkError(f"the record of {name} is damaged: {error}") from error
    return Builder(lan, record.description, store, report)
