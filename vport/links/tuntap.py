"""Opening TUN and TAP devices: the ``/dev/net/tun`` side that the ``tap`` and ``tun`` links share.

Blocking, for a worker thread inside the namespace of the device (``vport.netdev.in_namespace``).
Numbers and behaviour: linux/if_tun.h and Documentation/networking/tuntap.rst.
"""

from __future__ import annotations

import errno
import fcntl
import os
import platform
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from vport.errors import LinkError
from vport.offload import VNET_HEADER, TapOffload

if TYPE_CHECKING:
    from vport.netdev import Device, Kernel

DEVICE_NODE: Final = "/dev/net/tun"

IFF_TUN: Final = 0x0001
IFF_TAP: Final = 0x0002
IFF_MULTI_QUEUE: Final = 0x0100
IFF_NO_PI: Final = 0x1000
IFF_VNET_HDR: Final = 0x4000
_MODES: Final = {"tun": IFF_TUN, "tap": IFF_TAP}

# The size of the argument is part of an ioctl's number, and so is its direction, whose bits differ on
# a few architectures (asm/ioctl.h). All of these take an int or, for TUNSETIFF, claim to.
_ODD_ARCHITECTURES: Final = ("alpha", "mips", "parisc", "ppc", "sparc")
_IS_ODD: Final = platform.machine().startswith(_ODD_ARCHITECTURES)
_WRITE: Final = 0x80045400 if _IS_ODD else 0x40045400
_READ: Final = 0x40045400 if _IS_ODD else 0x80045400
TUNSETIFF: Final = _WRITE | 202
TUNGETFEATURES: Final = _READ | 207
TUNSETOFFLOAD: Final = _WRITE | 208
TUNSETVNETHDRSZ: Final = _WRITE | 216
TUNSETVNETLE: Final = _WRITE | 220
_IFREQ: Final = struct.Struct("16sH22x")


_NOTHING: Final = TapOffload(0)
# In the order of asking. Each needs CSUM; the kernel has USO4 and USO6 together or not at all.
_STEPS: Final = (
    TapOffload.CSUM,
    TapOffload.TSO4,
    TapOffload.TSO6,
    TapOffload.TSO_ECN,
    TapOffload.USO4 | TapOffload.USO6,
)


@dataclass(frozen=True, slots=True)
class OpenDevice:
    """A TUN or TAP device that this process holds open.

    Attributes:
        descriptor: non-blocking; closing it removes the device unless that is persistent.
        name: as the kernel gave it (``tap%d`` becomes ``tap0``).
        vnet_header: whether a virtio-net header goes before every frame, both ways.
        features: what the kernel hands over unfinished.
    """

    descriptor: int
    name: str
    vnet_header: bool
    features: TapOffload


def open_device(kernel: Kernel, name: str, mode: str, *, offload: bool) -> OpenDevice:
    """Open the device of this name, or make it. ``mode`` is ``tun`` or ``tap``.

    Raises:
        LinkError: it cannot be had; the message says why and what would help.
    """
    existing = kernel.find(name)
    if existing is not None and existing.kind != mode:
        kind = existing.kind.upper() if existing.kind in _MODES else existing.kind or "hardware"
        raise LinkError(f"{name} is in use: it is a {kind} device, not a {mode.upper()}; choose another name")
    descriptor = _open_node(name)
    try:
        return _attach(descriptor, name, mode, existing, offload=offload)
    except BaseException:
        os.close(descriptor)
        raise


def _open_node(name: str) -> int:
    try:
        return os.open(DEVICE_NODE, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in {errno.ENOENT, errno.ENODEV, errno.ENXIO}:
            raise LinkError(
                f"cannot open {name}: {DEVICE_NODE} is not there; load its module (sudo modprobe tun), "
                f"or give it to the container (--device {DEVICE_NODE} --cap-add NET_ADMIN)"
            ) from error
        if error.errno in {errno.EPERM, errno.EACCES}:
            raise LinkError(
                f"no permission to open {DEVICE_NODE}: run with sudo, or open it to all users, "
                f"as most systems have it: sudo chmod 666 {DEVICE_NODE}"
            ) from error
        raise LinkError(f"cannot open {DEVICE_NODE}: {error.strerror}") from error


def _permission_text(name: str, mode: str) -> str:
    return (
        f"no permission to open {name}: run with sudo, or make it once for this user: "
        f"sudo ip tuntap add dev {name} mode {mode} user $USER"
    )


def _attach(descriptor: int, name: str, mode: str, existing: Device | None, *, offload: bool) -> OpenDevice:
    vnet_header = offload and bool(_known_flags(descriptor) & IFF_VNET_HDR)
    flags = _MODES[mode] | IFF_NO_PI | (IFF_VNET_HDR if vnet_header else 0)
    if existing is not None and existing.multi_queue:
        flags |= IFF_MULTI_QUEUE  # a persistent device must be opened with the flags it was made with
    request = _IFREQ.pack(os.fsencode(name), flags)
    try:
        reply = fcntl.ioctl(descriptor, TUNSETIFF, request)
    except OSError as error:
        raise LinkError(_refusal_text(error, name, mode, existing)) from error
    if vnet_header:
        # A persistent device keeps what its last user set, and QEMU sets 12 bytes.
        _set(descriptor, TUNSETVNETHDRSZ, VNET_HEADER.size)
        _set(descriptor, TUNSETVNETLE, 1)
    features = set_features(descriptor, wanted=vnet_header)
    return OpenDevice(descriptor, os.fsdecode(reply[:16].rstrip(b"\0")), vnet_header, features)


def _known_flags(descriptor: int) -> int:
    try:
        reply = fcntl.ioctl(descriptor, TUNGETFEATURES, struct.pack("I", 0))
    except OSError:  # before Linux 2.6.27, or an imitation of it
        return 0
    return int(struct.unpack("I", reply)[0])


def _set(descriptor: int, request: int, value: int) -> None:
    fcntl.ioctl(descriptor, request, struct.pack("i", value))


def _refusal_text(error: OSError, name: str, mode: str, existing: Device | None) -> str:
    if error.errno == errno.EBUSY:
        return f"{name} is busy: another process has it open (see: sudo fuser -v {DEVICE_NODE})"
    if error.errno in {errno.EPERM, errno.EACCES}:
        if existing is None:
            return _permission_text(name, mode)
        whose = f"user {existing.owner}" if existing.owner is not None else "nobody but root"
        return f"no permission to open {name}: it belongs to {whose}; run with sudo, or choose another name"
    return f"cannot open {name} as a {mode.upper()} device: {error.strerror}"


def set_features(descriptor: int, *, wanted: bool) -> TapOffload:
    """Ask for all offloads, feature by feature as far as the kernel goes, or switch all off.

    Returns:
        what the kernel hands over unfinished from now on.
    """
    granted = _NOTHING
    if not _offload(descriptor, granted):
        return granted
    for step in _STEPS if wanted else ():
        if _offload(descriptor, granted | step):
            granted |= step
        elif step is TapOffload.CSUM:
            break
    return granted


def _offload(descriptor: int, features: TapOffload) -> bool:
    try:
        fcntl.ioctl(descriptor, TUNSETOFFLOAD, int(features))
    except OSError:
        return False
    return True
