"""Figures of the offload code alone: ``python tests/bench/bench_offload.py``.

Microseconds for one call, the best of several rounds: cutting and joining 64 kB, slicing and assembling it,
checksums of trains of small frames, runs, tags.
"""

from __future__ import annotations

import struct
import timeit
from typing import TYPE_CHECKING

from vport.assembly import assemble
from vport.checksum import checksum, complete_checksums, ones_sum, pseudo_sum, put_word
from vport.offload import NO_OFFLOAD, TapOffload, VirtioNetHeader, cut, from_tap, join
from vport.slices import slice_up
from vport.tagging import pop_tag, push_tag
from vport.train import Train, runs

if TYPE_CHECKING:
    from collections.abc import Callable

EVERYTHING = TapOffload(0x6F)
ADDRESSES = bytes(range(2, 14))


def report(what: str, call: Callable[[], object], calls: int = 200, rounds: int = 15) -> None:
    """Print how long one call takes at best."""
    best = min(timeit.repeat(call, number=calls, repeat=rounds)) / calls
    print(f"{what:64} {best * 1e6:9.2f} µs")


def superframe(version: int, protocol: int, segment: int, payload: int) -> tuple[bytes, VirtioNetHeader]:
    """Make a superframe with a right partial checksum."""
    options = bytes.fromhex("0101080a0000000100000002") if protocol == 6 else b""
    if protocol == 6:
        head = struct.pack("!HHIIBBHHH", 1, 2, 0x12345678, 5, 0x80, 0x18, 500, 0, 0) + options
    else:
        head = struct.pack("!HHHH", 1, 2, 8 + payload, 0)
    length = len(head) + payload
    if version == 4:
        network = bytearray(struct.pack("!BBHHHBBH", 0x45, 0, 20 + length, 0x1234, 0x4000, 64, protocol, 0))
        network += bytes(range(8))
        put_word(network, 10, checksum(network))
        pseudo = pseudo_sum(network[12:], protocol, length)
    else:
        network = bytearray(struct.pack("!IHBB", 6 << 28, length, protocol, 64) + bytes(range(32)))
        pseudo = pseudo_sum(network[8:], protocol, length)
    start, field = 14 + len(network), 16 if protocol == 6 else 6
    ethertype = b"\x08\0" if version == 4 else b"\x86\xdd"
    noise = bytes(at * 7 % 251 for at in range(payload))
    frame = bytearray(ADDRESSES + ethertype + network + head + noise)
    put_word(frame, start + field, pseudo)
    kind = 5 if protocol == 17 else 1 if version == 4 else 4
    return bytes(frame), VirtioNetHeader(1, kind, start + len(head), segment, start, field)


def bench_superframes() -> None:
    for version, protocol in ((4, 6), (6, 6), (4, 17), (6, 17)):
        name = f"{'TCP' if protocol == 6 else 'UDP'} over IPv{version}"
        for segment, payload in (
            (1348, 45 * 1348),
            (1348, 60000),
            (1347, 60000),
            (8948, 60000),
            (1348, 10000),
        ):
            data, header = superframe(version, protocol, segment, payload)
            train = cut(data, header)
            read = header.encode() + data
            what = f"{name}, {train.count} × {train.frame_size}"
            report(f"read, {what}", lambda read=read: from_tap(read))
            report(f"cut, {what}", lambda data=data, header=header: cut(data, header))
            report(f"join, {what}", lambda train=train: join(train, EVERYTHING))
            whole = Train(data, len(data), header)
            slices = slice_up(whole)
            assert slices is not None
            report(f"slice, {what}", lambda whole=whole: slice_up(whole))
            report(f"assemble, {what}", lambda slices=slices: assemble(slices))
    small = cut(*superframe(4, 17, 22, 22 * 1000))
    report("join, UDP over IPv4, 1000 × 64", lambda: join(small, EVERYTHING), calls=50)


def bench_what_cannot_be_joined() -> None:
    one, other = (list(cut(*superframe(4, kind, 1348, 45 * 1348)).frames()) for kind in (6, 17))
    frames = [frame[:1390] for pair in zip(one, other, strict=True) for frame in pair]
    alternating = Train(b"".join(frames), 1390)
    report("join, TCP and UDP in turn, 90 × 1390", lambda: join(alternating, EVERYTHING))
    acknowledgements = Train(b"".join(frame[:66] for frame in one), 66)
    report("join, bare acknowledgements, 45 × 66", lambda: join(acknowledgements, EVERYTHING))


def bench_checksums() -> None:
    header = NO_OFFLOAD._replace(flags=1, csum_start=34, csum_offset=6)
    for size, count in ((64, 1), (64, 45), (64, 1000), (1414, 1), (1414, 45)):
        data = bytearray(size * count)
        report(
            f"complete checksums, {count} × {size}",
            lambda data=data, size=size: complete_checksums(data, size, header),
        )
    for size in (20, 64, 256, 512, 1400):
        data = bytearray(range(256)) * 6
        report(f"sum of {size} bytes", lambda part=data[:size]: ones_sum(part), 2000)


def bench_headers() -> None:
    for size, count in ((64, 1), (64, 2), (64, 8), (64, 45), (64, 1000), (1414, 45)):
        plain = Train((ADDRESSES + b"\x08\0").ljust(size, b"\0") * count, size)
        mixed = bytearray(plain.data)
        mixed[size :: 2 * size] = b"\x03" * len(mixed[size :: 2 * size])
        different = Train(mixed, size)
        tagged = push_tag(plain, 5)
        what = f"{count} × {size}"
        report(f"runs, all alike, {what}", lambda plain=plain: runs(plain))
        report(f"runs, all different, {what}", lambda train=different: runs(train))
        report(f"push tag, {what}", lambda plain=plain: push_tag(plain, 5))
        report(f"pop tag, {what}", lambda tagged=tagged: pop_tag(tagged))


if __name__ == "__main__":
    bench_superframes()
    bench_what_cannot_be_joined()
    bench_checksums()
    bench_headers()
