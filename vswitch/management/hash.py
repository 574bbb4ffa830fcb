"""The hash menu: the address table (802.1Q's FDB) under VDE's name for it."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Final

from vport.errors import CommandError
from vport.ethernet import VID_MAX, MacAddress, Vid, format_mac
from vport.shell.command import Integer, Mac, Menu, Optional, Session, command
from vswitch.fdb import CAPACITY_MAX, TIME_MAX
from vswitch.vlan import DEFAULT_VID

if TYPE_CHECKING:
    from collections.abc import Iterator

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
    return (
        f"Hash: {bucket:04d} Addr: {format_mac(entry.mac)} VLAN {entry.vid:04d} "
        f"to port: {entry.port.number:03d}  age {int(now - entry.last_seen)} secs"
    )


@command("hash/showinfo", "show size and times of the address table", prints=True)
def show_info(control: Control, session: Session) -> list[str]:
    """Show the settings of the table."""
    settings = control.bridge.fdb.settings
    return [
        f"Hash size {settings.buckets}",
        f"GC interval {settings.collect_interval} secs",
        f"GC expire {settings.aging_time} secs",
        f"Min persistence {settings.min_persistence} secs",
    ]


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
def print_table(control: Control, session: Session) -> Iterator[str]:
    """Print all entries by bucket, the newest of a bucket first."""
    fdb, now = control.bridge.fdb, control.now()
    entries = [(bucket_of(entry.mac, entry.vid, fdb.settings.buckets), entry) for entry in fdb]
    entries.reverse()
    entries.sort(key=lambda item: item[0])
    return (_line(bucket, entry, now) for bucket, entry in entries)


@command("hash/find", "look a station up", Mac(), Optional(Integer("VLAN", 0, VID_MAX)), prints=True)
def find(control: Control, session: Session, mac: MacAddress, vlan: int | None) -> list[str]:
    """Print the entry of one station; VLAN 0 where none is given."""
    fdb = control.bridge.fdb
    vid = DEFAULT_VID if vlan is None else Vid(vlan)
    entry = fdb.lookup(vid, mac)
    if entry is None:
        raise CommandError(errno.ENODEV, f"{format_mac(mac)} is not known in VLAN {vid}")
    return [_line(bucket_of(mac, vid, fdb.settings.buckets), entry, control.now())]


MENU: Final = Menu(
    "hash",
    "HASH TABLE MENU",
    (show_info, set_size, set_collect_interval, set_expire, set_min_persistence, print_table, find),
)
