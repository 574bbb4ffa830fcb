"""The hash menu: the address table (802.1Q's FDB) under VDE's name for it."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Final

from vport.errors import CommandError, SettingsError
from vport.ethernet import MacAddress, Vid, format_mac, is_multicast
from vport.shell.arguments import Choice, Integer, Mac, Optional, invalid
from vport.shell.command import Menu, Reply, Session, command
from vswitch.fdb import CAPACITY_MAX, TIME_MAX
from vswitch.management.lookup import PORT, VLAN, existing_port, existing_vlan
from vswitch.ports import PORT_LIMIT_MAX
from vswitch.vlan import DEFAULT_VID

if TYPE_CHECKING:
    from vswitch.fdb import FdbEntry
    from vswitch.management.control import Control

_64_BITS: Final = (1 << 64) - 1


def bucket_of(mac: bytes, vid: int, buckets: int) -> int:
    """Give the bucket in which VDE keeps a station: the mixing steps of Murmur3 over address and VLAN.

    Our table has no buckets; the number keeps ``hash/print`` in the form and order that programs know.
    """
    key = int.from_bytes(mac, "little") | vid << 48
    key = ((key ^ key >> 33) * 0xFF51AFD7ED558CCD) & _64_BITS
    key = ((key ^ key >> 33) * 0xC4CEB9FE1A85EC53) & _64_BITS
    return key & (buckets - 1)


def _line(bucket: int, entry: FdbEntry, now: float) -> str:
    line = (
        f"Hash: {bucket:04d} Addr: {format_mac(entry.mac)} VLAN {entry.vid:04d} "
        f"to port: {entry.port.number:03d}  age {int(now - entry.last_seen)} secs"
    )
    return f"{line} static" if entry.is_static else line


def _document(entry: FdbEntry, now: float) -> dict[str, object]:
    return {
        "mac": format_mac(entry.mac),
        "vlan": entry.vid,
        "port": entry.port.number,
        "age": round(now - entry.last_seen, 3),
        "static": entry.is_static,
    }


@command("hash/showinfo", "show size and times of the address table", prints=True)
def show_info(control: Control, session: Session) -> Reply:
    """Show the settings of the table."""
    fdb = control.bridge.fdb
    settings = fdb.settings
    lines = [
        f"Hash size {settings.buckets}",
        f"GC interval {settings.collect_interval} secs",
        f"GC expire {settings.aging_time} secs",
        f"Min persistence {settings.min_persistence} secs",
    ]
    document = {
        "buckets": settings.buckets,
        "collect_interval": settings.collect_interval,
        "aging_time": settings.aging_time,
        "min_persistence": settings.min_persistence,
        "capacity": settings.capacity,
        "entries": len(fdb),
    }
    return Reply(lines, document=document)


@command("hash/setsize", "set the number of hash buckets and empty the table", Integer("N", 1, CAPACITY_MAX))
def set_size(control: Control, session: Session, buckets: int) -> None:
    """Change the number of buckets, rounded up to a power of two. Scripts use it to empty the table."""
    control.bridge.fdb.change(buckets=1 << (buckets - 1).bit_length())
    control.bridge.fdb.flush()


@command(
    "hash/setgcint", "set how often old entries are looked for, in s; 0: never", Integer("N", 0, TIME_MAX)
)
def set_collect_interval(control: Control, session: Session, seconds: int) -> None:
    """Change the interval of garbage collection."""
    control.bridge.fdb.change(collect_interval=seconds)


@command("hash/setexpire", "set the age at which entries are removed, in s", Integer("N", 1, TIME_MAX))
def set_expire(control: Control, session: Session, seconds: int) -> None:
    """Change the ageing time."""
    control.bridge.fdb.change(aging_time=seconds)


@command("hash/setminper", "set how long an entry keeps its port, in s", Integer("N", 0, TIME_MAX))
def set_min_persistence(control: Control, session: Session, seconds: int) -> None:
    """Change the minimum persistence."""
    control.bridge.fdb.change(min_persistence=seconds)


@command("hash/print", "print the address table", prints=True)
def print_table(control: Control, session: Session) -> Reply:
    """Print all entries by bucket, the newest of a bucket first."""
    fdb, now = control.bridge.fdb, control.now()
    entries = [(bucket_of(entry.mac, entry.vid, fdb.settings.buckets), entry) for entry in fdb]
    entries.reverse()
    entries.sort(key=lambda item: item[0])
    return Reply(
        (_line(bucket, entry, now) for bucket, entry in entries),
        document=(_document(entry, now) for _, entry in entries),
    )


def _vid(vlan: int | None) -> Vid:
    return DEFAULT_VID if vlan is None else Vid(vlan)


def _unknown(mac: MacAddress, vid: Vid) -> CommandError:
    return CommandError(errno.ENODEV, f"{format_mac(mac)} is not known in VLAN {vid}")


@command("hash/find", "look a station up", Mac(), Optional(VLAN), prints=True)
def find(control: Control, session: Session, mac: MacAddress, vlan: int | None) -> Reply:
    """Print the entry of one station; VLAN 0 where none is given."""
    fdb, now, vid = control.bridge.fdb, control.now(), _vid(vlan)
    entry = fdb.lookup(vid, mac)
    if entry is None:
        raise _unknown(mac, vid)
    bucket = bucket_of(mac, vid, fdb.settings.buckets)
    return Reply([_line(bucket, entry, now)], document=_document(entry, now))


@command("hash/add", "say for good which port a station is behind", Mac(), PORT, Optional(VLAN))
def add(control: Control, session: Session, mac: MacAddress, number: int, vlan: int | None) -> None:
    """Configure a static entry, which neither ages nor moves, in place of what was learned."""
    if is_multicast(mac) or not any(mac):
        raise invalid("MAC", "the address of one station, not a group or zero", format_mac(mac))
    vid = existing_vlan(control, _vid(vlan)).vid
    try:
        control.bridge.fdb.add_static(vid, mac, existing_port(control, number), control.now())
    except SettingsError as error:
        raise CommandError(errno.ENOSPC, str(error)) from None


@command("hash/delete", "forget a station", Mac(), Optional(VLAN))
def delete(control: Control, session: Session, mac: MacAddress, vlan: int | None) -> None:
    """Remove an entry, static or learned."""
    if not control.bridge.fdb.delete(_vid(vlan), mac):
        raise _unknown(mac, _vid(vlan))


@command(
    "hash/flush",
    "forget what was learned: all of it, on a port, in a VLAN",
    Optional(Choice("port/vlan", ("port", "vlan"))),
    Optional(Integer("N", 0, PORT_LIMIT_MAX)),
)
def flush(control: Control, session: Session, what: str | None, number: int | None) -> None:
    """Remove dynamic entries; static ones stay."""
    if what is None:
        control.bridge.fdb.flush()
    elif number is None:
        raise CommandError(errno.EINVAL, f"N is missing: the number of the {what}")
    elif what == "port":
        control.bridge.fdb.flush(port=existing_port(control, number))
    else:
        control.bridge.fdb.flush(vid=existing_vlan(control, number).vid)


MENU: Final = Menu(
    "hash",
    "HASH TABLE MENU",
    (
        show_info,
        set_size,
        set_collect_interval,
        set_expire,
        set_min_persistence,
        print_table,
        find,
        add,
        delete,
        flush,
    ),
)
