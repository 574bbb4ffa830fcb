from __future__ import annotations

import io
import os
import resource
import struct
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
import trio
from scapy.utils import RawPcapNgReader

from tests.vport.links.places import FRAME, RecordingPlace, frame, until
from vport import offload
from vport.errors import LinkError
from vport.links import open_link
from vport.links import pcap as module
from vport.links.capture_files import RegularFile
from vport.links.pcap import PcapLink
from vport.locator import PcapLocator
from vport.train import Train, lone
from vport.virtio_net import GsoType, VirtioNetHeader

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from vport.ethernet import Buffer
    from vport.links.base import Link

STATISTICS_SIZE = 52


def read_back(capture: bytes) -> list[bytes]:
    """Give the frames of a whole capture, read by scapy."""
    return [data for data, _ in RawPcapNgReader(io.BytesIO(capture))]


def statistics(capture: bytes) -> tuple[int, int]:
    """Read how many frames there were, and how many are missing, from a capture's last block."""
    fields = struct.unpack("<5I HHQ HHQ I I", capture[-STATISTICS_SIZE:])
    assert fields[:2] == (5, STATISTICS_SIZE)
    return fields[7], fields[10]


def send(link: Link, *trains: Train) -> None:
    for train in trains:
        link.transmit(train)
    link.flush()


async def carry(link: Link, then: Callable[[], object] = lambda: True) -> None:
    """Run a link until ``then`` holds."""
    async with trio.open_nursery() as nursery:
        await nursery.start(link.run, RecordingPlace(link))
        await until(then)
        nursery.cancel_scope.cancel()


# --- files ---


async def test_frames_are_in_the_file_within_a_second(tmp_path: Path, nursery: trio.Nursery) -> None:
    path = tmp_path / "lan.pcapng"
    with await open_link(f"pcap://{path}") as link:
        await nursery.start(link.run, RecordingPlace(link))
        send(link, lone(FRAME), Train(frame(70, 1) * 3 + frame(60, 2), 70))
        await until(lambda: b"\2" * 46 in path.read_bytes(), seconds=1.0)
        assert read_back(path.read_bytes()) == [FRAME, *[frame(70, 1)] * 3, frame(60, 2)]
        assert path.stat().st_mode & 0o777 == 0o600
        assert link.discards == {}
        nursery.cancel_scope.cancel()


async def test_superframe_is_written_as_its_frames(tmp_path: Path) -> None:
    path = tmp_path / "lan.pcapng"
    # 2 × 1000 bytes of TCP, with the checksum and the cutting left to others
    ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 40 + 2000, 1, 0x4000, 64, 6, 0, b"\n\0\0\1", b"\n\0\0\2")
    tcp = struct.pack("!HHIIBBHHH", 1, 2, 0, 0, 0x50, 0x10, 100, 0, 0)
    data = FRAME[:12] + b"\x08\x00" + ip + tcp + bytes(2000)
    train = Train(data, 1054, VirtioNetHeader(1, GsoType.TCPV4, 54, 1000, 34, 16))
    with await open_link(f"pcap://{path}") as link:
        send(link, train)

    assert read_back(path.read_bytes()) == [bytes(one) for one in offload.plain(train).frames()]
    assert statistics(path.read_bytes()) == (2, 0)


async def test_long_frames_are_cut_at_snaplen(tmp_path: Path) -> None:
    path = tmp_path / "lan.pcapng"
    with await open_link(f"pcap://{path}?snaplen=64&mode=0640") as link:
        send(link, lone(frame(100)))

    assert read_back(path.read_bytes()) == [frame(100)[:64]]
    assert path.stat().st_mode & 0o777 == 0o640


async def test_cancelled_run_writes_what_waits_and_the_link_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "lan.pcapng"
    with await open_link(f"pcap://{path}") as link:
        for mark in range(3):
            send(link, lone(frame(60, mark)))
            await carry(link)
            assert len(read_back(path.read_bytes())) == mark + 1
            assert statistics(path.read_bytes()) == (mark + 1, 0)
        send(link, lone(frame(60, 3)))  # while nobody runs it
    assert read_back(path.read_bytes()) == [frame(60, mark) for mark in range(4)]


async def test_run_that_is_cancelled_at_once_ends(tmp_path: Path) -> None:
    with await open_link(f"pcap://{tmp_path}/lan.pcapng") as link, trio.fail_after(5):
        with trio.CancelScope() as scope:
            scope.cancel()
            await link.run(RecordingPlace(link))
        assert scope.cancelled_caught


async def test_closing_ends_run_with_everything_written(tmp_path: Path) -> None:
    path = tmp_path / "lan.pcapng"
    link = await open_link(f"pcap://{path}")
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            await nursery.start(link.run, RecordingPlace(link))
            send(link, lone(FRAME))
            link.close()
            send(link, lone(FRAME))
            link.close()
    assert read_back(path.read_bytes()) == [FRAME]
    assert link.discards == {"closed": 1}


async def test_file_with_something_in_it_is_kept_unless_told_otherwise(tmp_path: Path) -> None:
    path = tmp_path / "lan.pcapng"
    path.write_bytes(b"precious" * 100)
    with pytest.raises(LinkError, match=r"exists and has 800 bytes: .* overwrite=yes"):
        await open_link(f"pcap://{path}")
    assert path.read_bytes() == b"precious" * 100

    with await open_link(f"pcap://{path}?overwrite=yes") as link:
        send(link, lone(FRAME))
    assert read_back(path.read_bytes()) == [FRAME]

    path.write_bytes(b"")
    with await open_link(f"pcap://{path}") as link:
        send(link, lone(FRAME))
    assert read_back(path.read_bytes()) == [FRAME]


async def test_file_of_a_running_capture_is_refused(tmp_path: Path) -> None:
    with (
        await open_link(f"pcap://{tmp_path}/lan.pcapng"),
        pytest.raises(LinkError, match="being written by another capture"),
    ):
        await open_link(f"pcap://{tmp_path}/lan.pcapng?overwrite=yes")


@pytest.mark.parametrize(
    ("path", "complaint"),
    [
        ("/nowhere/lan.pcapng", "cannot write /nowhere/lan.pcapng: No such file"),
        ("/tmp", "cannot write /tmp: Is a directory"),
        ("/dev/null", "/dev/null is neither a file nor a FIFO"),
    ],
)
async def test_place_that_cannot_be_written_is_an_error_at_once(path: str, complaint: str) -> None:
    with pytest.raises(LinkError, match=complaint):
        await open_link(f"pcap://{path}")


async def test_terminal_is_refused_with_what_to_do_instead() -> None:
    ours, theirs = os.openpty()
    with pytest.raises(LinkError, match=r"is a terminal: .* tcpdump -r -"):
        await open_link(f"pcap://{os.ttyname(theirs)}")
    os.close(ours)
    os.close(theirs)


@pytest.mark.parametrize("limit", [300, 700, 1000])
async def test_capture_stops_at_its_limit_and_says_so_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, limit: int
) -> None:
    path = tmp_path / "lan.pcapng"
    with await open_link(f"pcap://{path}?limit={limit}") as link:
        for _ in range(3):
            send(link, Train(frame(60) * 4, 60))
        await carry(link)
        await carry(link)
    capture = path.read_bytes()
    frames = read_back(capture)
    assert limit - 92 < len(capture) <= limit
    assert link.discards == {"limit": 12 - len(frames)}
    assert statistics(capture) == (12, 12 - len(frames))
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert f"lan.pcapng is full (limit={limit})" in caplog.text


# --- disks ---


class SlowFile(RegularFile):
    """A disk that does nothing until it is told to."""

    def __init__(self, descriptor: int) -> None:
        super().__init__(descriptor)
        self.go_on = threading.Event()
        self.has_gone_on = threading.Event()

    def write_now(self, blocks: Buffer) -> None:
        self.go_on.wait()
        super().write_now(blocks)
        self.has_gone_on.set()


class HangingFile(RegularFile):
    """A disk that hangs in the middle of a write until it is told to go on."""

    def __init__(self, descriptor: int) -> None:
        super().__init__(descriptor)
        self.number = descriptor
        self.is_hanging, self.go_on = threading.Event(), threading.Event()

    def _write(self, view: memoryview) -> None:
        self.is_hanging.set()
        self.go_on.wait()
        super()._write(view)


def slow_link(path: Path) -> tuple[PcapLink, SlowFile]:
    file = SlowFile(os.open(path, os.O_WRONLY | os.O_CREAT))
    return PcapLink(file, PcapLocator(path=str(path))), file


async def test_slow_disk_costs_frames_and_holds_up_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "QUEUE_MAXIMUM", 10_000)
    link, file = slow_link(tmp_path / "lan.pcapng")
    async with trio.open_nursery() as nursery:
        await nursery.start(link.run, RecordingPlace(link))
        for _ in range(100):
            send(link, lone(frame(1000)))
            await trio.lowlevel.checkpoint()
        assert 90 <= link.discards["queue-full"] < 100
        file.go_on.set()
        missing = link.discards["queue-full"]
        await until(lambda: link._queue.waiting == 0)
        send(link, lone(FRAME))
        nursery.cancel_scope.cancel()
    link.close()
    capture = (tmp_path / "lan.pcapng").read_bytes()
    assert read_back(capture) == [*[frame(1000)] * (100 - missing), FRAME]
    assert statistics(capture) == (101, missing)


async def test_disk_that_hangs_is_given_up_in_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "GRACE", 0.05)
    link, file = slow_link(tmp_path / "lan.pcapng")
    with trio.fail_after(2):
        send(link, lone(FRAME))
        await carry(link)
        link.close()
    assert "bytes were not taken in time" in caplog.text
    file.go_on.set()
    assert file.has_gone_on.wait(5)
    assert (tmp_path / "lan.pcapng").read_bytes() == b""


def test_write_under_way_when_the_file_is_closed_goes_to_that_file_and_no_other(tmp_path: Path) -> None:
    file = HangingFile(os.open(tmp_path / "lan.pcapng", os.O_WRONLY | os.O_CREAT))
    thread = threading.Thread(target=file.write_now, args=(b"blocks",))
    thread.start()
    assert file.is_hanging.wait(5)
    file.close()
    with (tmp_path / "other").open("wb") as other:
        assert other.fileno() != file.number
        file.go_on.set()
        thread.join(5)
    assert (tmp_path / "lan.pcapng").read_bytes() == b"blocks"
    assert (tmp_path / "other").read_bytes() == b""
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(file.number)


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


async def test_full_disk_ends_the_link_with_a_file_of_whole_blocks(tmp_path: Path) -> None:
    path = tmp_path / "lan.pcapng"
    with await open_link(f"pcap://{path}") as link:
        send(link, Train(frame(1000) * 1500, 1000))
        with (
            files_of_at_most(1_000_000),
            trio.fail_after(5),
            pytest.raises(LinkError, match=f"cannot write {path}: File too large; the capture ends"),
        ):
            await link.run(RecordingPlace(link))
        send(link, lone(FRAME))
        assert link.discards == {"failed": 1}
    capture = path.read_bytes()
    assert 1_000_000 - 1032 < len(capture) <= 1_000_000
    assert read_back(capture) == [frame(1000)] * ((len(capture) - 84) // 1032)


async def test_full_disk_is_told_also_when_it_is_found_out_at_the_end() -> None:
    link = PcapLink(RegularFile(os.open("/dev/full", os.O_WRONLY)), PcapLocator(path="/tmp/x"))
    send(link, lone(FRAME))
    with pytest.RaisesGroup(
        pytest.RaisesExc(LinkError, match="cannot write /tmp/x: No space left on device")
    ):
        await carry(link)
    link.close()


# --- FIFOs ---


def make_fifo(folder: Path) -> Path:
    os.mkfifo(folder / "fifo")
    return folder / "fifo"


def drained(descriptor: int) -> bytes:
    """Read what is in a FIFO now."""
    parts = []
    while True:
        try:
            parts.append(os.read(descriptor, 65536))
        except BlockingIOError:
            break
        if not parts[-1]:
            break
    return b"".join(parts)


async def test_fifo_waits_for_its_reader_and_ends_with_it(tmp_path: Path) -> None:
    path = make_fifo(tmp_path)
    with await open_link(f"pcap://{path}") as link, trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            await nursery.start(link.run, RecordingPlace(link))
            send(link, lone(FRAME))
            assert link.discards == {"no-reader": 1}

            reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
            capture = bytearray()
            await until(lambda: capture.extend(drained(reader)) or capture)
            assert read_back(bytes(capture)) == []
            send(link, Train(frame(70) * 10, 70))
            await until(lambda: capture.extend(drained(reader)) or len(capture) > 84)
            assert read_back(bytes(capture)) == [frame(70)] * 10

            os.close(reader)
    send(link, lone(FRAME))
    assert link.discards == {"no-reader": 2}


async def test_fifo_whose_reader_stalls_costs_frames_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "QUEUE_MAXIMUM", 4 << 20)
    path = make_fifo(tmp_path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    with await open_link(f"pcap://{path}") as link, trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            await nursery.start(link.run, RecordingPlace(link))
            for _ in range(100):
                send(link, Train(frame(1000) * 64, 1000))
                await trio.lowlevel.checkpoint()
            missing = link.discards["queue-full"]
            assert 0 < missing < 6400
            capture = bytearray()
            await until(lambda: capture.extend(drained(reader)) or link._queue.waiting == 0)
            link.close()
    capture += drained(reader)
    assert len(read_back(bytes(capture))) == 6400 - missing
    assert statistics(capture) == (6400, missing)
    os.close(reader)


async def test_fifo_whose_reader_leaves_in_the_middle_ends_the_link(tmp_path: Path) -> None:
    path = make_fifo(tmp_path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    with await open_link(f"pcap://{path}") as link, trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            await nursery.start(link.run, RecordingPlace(link))
            send(link, Train(frame(1000) * 4000, 1000))  # more than the FIFO takes
            await until(lambda: drained(reader))
            os.close(reader)


async def test_stalled_reader_delays_the_end_for_a_moment_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "GRACE", 0.05)
    path = make_fifo(tmp_path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    with trio.fail_after(2), await open_link(f"pcap://{path}") as link:
        send(link, Train(frame(1000) * 4000, 1000))
        await carry(link)
    os.close(reader)


async def test_closing_a_fifo_that_nobody_reads_ends_run(tmp_path: Path) -> None:
    link = await open_link(f"pcap://{make_fifo(tmp_path)}")
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            await nursery.start(link.run, RecordingPlace(link))
            link.close()


async def test_fifo_that_is_removed_while_it_is_waited_for_is_an_error(tmp_path: Path) -> None:
    path = make_fifo(tmp_path)
    with await open_link(f"pcap://{path}") as link, trio.fail_after(5):
        path.unlink()
        with pytest.raises(LinkError, match="fifo: No such file"):
            await link.run(RecordingPlace(link))
    assert not path.exists()
