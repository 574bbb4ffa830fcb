"""A small Linux guest for QEMU: Debian's kernel, busybox, a network card, and somebody to ping.

``tests/run`` downloads and unpacks what it is made of into ``.cache/guest``; nothing of it is installed.
"""

from __future__ import annotations

import gzip
import stat
from typing import TYPE_CHECKING

from tests.system.processes import ROOT
from tests.system.requirements import missing, require_program

if TYPE_CHECKING:
    from pathlib import Path

PARTS = ROOT / ".cache/guest"
MODULES = (
    "net/core/failover",
    "drivers/net/net_failover",
    "drivers/virtio/virtio_ring",
    "drivers/virtio/virtio",
    "drivers/virtio/virtio_pci_modern_dev",
    "drivers/virtio/virtio_pci_legacy_dev",
    "drivers/virtio/virtio_pci",
    "drivers/net/virtio_net",
)

INIT = """\
#!/bin/busybox sh
/bin/busybox mkdir -p /proc
/bin/busybox mount -t proc proc /proc
for module in {modules}; do /bin/busybox insmod /modules/$module; done
peers=
for word in $(/bin/busybox cat /proc/cmdline); do
    case $word in
    guest.address=*) address=${{word#*=}} ;;
    guest.peer=*) peers="$peers ${{word#*=}}" ;;
    esac
done
/bin/busybox ip link set lo up
/bin/busybox ip addr add $address/24 dev eth0
/bin/busybox ip link set eth0 up
for peer in $peers; do
    until /bin/busybox ping -c 1 -W 1 $peer; do :; done
    echo "reached $peer"
done
echo "reached all"
while :; do /bin/busybox sleep 1000; done
"""


def require_guest() -> None:
    """Skip unless QEMU and the parts of a guest are there."""
    require_program("qemu-system-x86_64", "qemu-system-x86")
    if not (PARTS / "bin/busybox").exists():
        missing("needs a kernel and a static busybox in .cache/guest (tests/run downloads them)")


def _entry(name: str, mode: int, data: bytes = b"") -> bytes:
    """Write a member of a cpio archive (the "newc" format of the kernel's initramfs)."""
    path = name.encode() + b"\0"
    fields = (1, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(path), 0)
    head = b"070701" + b"".join(b"%08X" % field for field in fields) + path
    return head + bytes(-len(head) % 4) + data + bytes(-len(data) % 4)


def build_initramfs(path: Path) -> None:
    """Write the guest's file system."""
    kernel = next(PARTS.glob("lib/modules/*/kernel"))
    modules = {f"{module.rpartition('/')[2]}.ko": kernel / f"{module}.ko" for module in MODULES}
    members = [_entry(name, stat.S_IFDIR | 0o755) for name in ("bin", "modules", "dev")]
    members.append(_entry("bin/busybox", stat.S_IFREG | 0o755, (PARTS / "bin/busybox").read_bytes()))
    members += [
        _entry(f"modules/{name}", stat.S_IFREG | 0o644, file.read_bytes()) for name, file in modules.items()
    ]
    init = INIT.format(modules=" ".join(modules))
    members.append(_entry("init", stat.S_IFREG | 0o755, init.encode()))
    members.append(_entry("TRAILER!!!", 0))
    path.write_bytes(gzip.compress(b"".join(members), 1))


def qemu_command(initramfs: Path, netdev: str, number: int, peers: list[str]) -> list[str]:
    """Give the command line of guest ``number``, which has 10.4.4.number and pings ``peers``."""
    kernel = next(PARTS.glob("boot/vmlinuz-*"))
    append = f"console=ttyS0 quiet panic=-1 guest.address=10.4.4.{number} " + " ".join(
        f"guest.peer={peer}" for peer in peers
    )
    return [
        *("qemu-system-x86_64", "-M", "pc", "-accel", "tcg", "-m", "112", "-nodefaults", "-no-reboot"),
        *("-display", "none", "-serial", "stdio", "-kernel", str(kernel), "-initrd", str(initramfs)),
        *("-append", append, "-netdev", netdev),
        *("-device", f"virtio-net-pci,netdev=n,romfile=,mac=52:54:00:00:00:{number:02x}"),
    ]
