"""The kernel as judge: what it cuts a superframe into is, byte for byte, what we cut it into.

A superframe written to one TAP comes out of two others, across a kernel bridge: one takes no offloads, so
that the kernel has to cut, the other takes all of them. The devices live in a namespace of a child
process, which runs this module as a program.
"""

from __future__ import annotations

import fcntl
import os
import random
import select
import struct
import subprocess
import sys
from pathlib import Path

from tests.system.requirements import missing, require_program, require_tun
from tests.vport.flows import ACK, CWR, FIN, PSH, TIMESTAMPS, Flow
from vport.links.tuntap import IFF_NO_PI, IFF_TAP, IFF_VNET_HDR, TUNSETIFF, TUNSETOFFLOAD
from vport.offload import TapOffload, cut, from_tap, join, plain
from vport.virtio_net import NO_OFFLOAD

ROOT = Path(__file__).parents[2]
EVERYTHING = TapOffload(0x6F)
SUPERFRAMES = 150
NO_USO = 3  # exit status of the child


def test_kernel_cuts_as_we_do() -> None:
    require_tun()
    require_program("ip", "iproute2")
    require_program("unshare", "util-linux")

    command = ["unshare", "--net", sys.executable, "-m", "tests.system.test_kernel_segmentation"]
    child = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)

    if child.returncode == NO_USO:
        missing("needs a kernel with USO for TAP devices (6.2)")
    assert child.returncode == 0, child.stderr


def tap(name: str, takes: TapOffload | None) -> int:
    """Make a TAP; None: without a virtio-net header."""
    descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    flags = IFF_TAP | IFF_NO_PI | (0 if takes is None else IFF_VNET_HDR)
    fcntl.ioctl(descriptor, TUNSETIFF, struct.pack("16sH22x", name.encode(), flags))
    if takes is not None:
        try:
            fcntl.ioctl(descriptor, TUNSETOFFLOAD, takes)
        except OSError:
            sys.exit(NO_USO)
    return descriptor


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True)


def drained(descriptor: int, count: int) -> list[bytes]:
    """Read ``count`` frames, or less when nothing comes for two seconds."""
    frames: list[bytes] = []
    while len(frames) < count and select.select([descriptor], [], [], 2)[0]:
        frames.append(os.read(descriptor, 70000))
    return frames


def random_superframe(draw: random.Random) -> tuple[Flow, bytes, int, dict[str, int]]:
    """Draw a flow, a payload for at least two segments, their size, and what the first header says."""
    version, protocol = draw.choice([4, 6]), draw.choice([6, 17])
    options = b"\1" * 12 if version == 4 else bytes([protocol]) + b"\0\1\4\0\0\0\0"
    flow = Flow(
        version,
        protocol,
        tags=draw.choice([b"", b"", b"\x81\0\x20\5"]),
        ip_options=draw.choice([b"", b"", options]),
        tcp_options=draw.choice([b"", TIMESTAMPS, b"\1" * 40]),
        addresses=draw.randbytes(32),
        fragment=draw.choice([0, 0x4000]),
    )
    payload = draw.randbytes(draw.choice([draw.randint(21, 3000), draw.randint(3000, 60000)]))
    flags = [ACK, ACK | PSH, ACK | FIN | PSH, ACK | CWR, ACK | CWR | FIN | PSH, ACK | 64]
    said = {
        "ident": draw.choice([0, 5, 0xFFF0, 0xFFFF]),
        "sequence": draw.choice([0, 0xFFFFF000]),
        "flags": draw.choice(flags),
    }
    size = max(draw.randint(20, min(1400, len(payload) - 1)), len(payload) // 100 + 1)
    return flow, payload, size, said


def main() -> None:
    """Send superframes through the kernel and compare what comes out."""
    giver, frames, superframes = tap("give", TapOffload(0)), tap("frames", None), tap("super", EVERYTHING)
    Path("/proc/sys/net/ipv6/conf/all/disable_ipv6").write_text("1")
    ip("link", "add", "bridge", "type", "bridge", "mcast_snooping", "0")
    for name in ("give", "frames", "super"):
        ip("link", "set", name, "master", "bridge", "mtu", "65000", "up")
    ip("link", "set", "bridge", "up")
    draw = random.Random(5)
    for number in range(SUPERFRAMES):
        flow, payload, size, said = random_superframe(draw)
        data, header = flow.superframe(payload, size, **said)
        train = cut(data, header)
        ours = [bytes(frame) for frame in train.frames()]

        os.write(giver, header.encode() + data)
        assert drained(frames, len(ours)) == ours, f"{number}: the kernel cuts {flow} {header} otherwise"
        assert given(superframes, len(ours)) == ours, f"{number}: what the kernel gives for {flow} {header}"

        for piece in join(train, EVERYTHING, least=2):
            for frame in [piece.data] if piece.offload else piece.frames():
                os.write(giver, (piece.offload or NO_OFFLOAD).encode() + frame)
        assert drained(frames, len(ours)) == ours, f"{number}: the kernel cuts what we joined otherwise"
        assert given(superframes, len(ours)) == ours, f"{number}: what the kernel gives for what we joined"


def given(descriptor: int, count: int) -> list[bytes]:
    """Read until there are ``count`` frames, superframes cut."""
    found: list[bytes] = []
    while len(found) < count and (read := drained(descriptor, 1)):
        found += map(bytes, plain(from_tap(read[0])).frames())
    return found


if __name__ == "__main__":
    main()
