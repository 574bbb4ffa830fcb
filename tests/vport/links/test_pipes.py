from __future__ import annotations

import os
import signal
import struct
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
import trio

from tests.vport.links.places import FRAME, RecordingPlace, frame, until
from vport.errors import LinkError
from vport.links import open_link
from vport.links.pipes import StdioLink
from vport.train import Train, lone

if TYPE_CHECKING:
    from pathlib import Path


def framed(*frames: bytes) -> bytes:
    return b"".join(struct.pack("!H", len(one)) + one for one in frames)


async def test_standard_input_and_output_carry_frames_until_the_input_ends(nursery: trio.Nursery) -> None:
    inward, feed = os.pipe()
    drain, outward = os.pipe()
    with StdioLink(inward, outward) as link:
        place = RecordingPlace(link)
        os.write(feed, framed(FRAME, frame(90)))
        ended = trio.Event()

        async def run() -> None:
            await link.run(place)
            ended.set()

        nursery.start_soon(run)
        await until(lambda: place.frames == [FRAME, frame(90)])
        link.transmit(Train(frame(100) * 2, 100))
        link.flush()
        # One read gets one frame however many wait: no reader is left with half a length.
        assert os.read(drain, 65536) == framed(frame(100))
        assert os.read(drain, 65536) == framed(frame(100))
        os.close(feed)
        await ended.wait()
    assert os.get_blocking(inward)
    assert os.get_blocking(outward)
    for descriptor in (inward, drain, outward):
        os.close(descriptor)


async def test_regular_file_as_input_is_read_to_its_end(tmp_path: Path) -> None:
    (tmp_path / "frames").write_bytes(framed(*[frame(60, mark) for mark in range(100)]))
    with (
        (tmp_path / "frames").open("rb") as inward,
        (tmp_path / "out").open("wb") as outward,
        StdioLink(inward.fileno(), outward.fileno()) as link,
        trio.fail_after(5),
    ):
        place = RecordingPlace(link)
        link.transmit(lone(FRAME))
        link.flush()
        await link.run(place)
    assert len(place.frames) == 100
    assert (tmp_path / "out").read_bytes() == framed(FRAME)


async def test_command_gets_frames_and_gives_them(nursery: trio.Nursery) -> None:
    with await open_link("cmd:cat") as link:
        place = RecordingPlace(link)
        await nursery.start(link.run, place)
        frames = [frame(60, mark) for mark in range(50)] + [frame(9000)]
        link.transmit(Train(b"".join(frames[:50]), 60))
        link.transmit(lone(frames[50]))
        link.flush()
        await until(lambda: place.frames == frames)
        link.transmit(lone(bytes(9235)))
        assert link.discards == {"oversized": 1}
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("command", "complaint"), [("exit 3", "ended with status 3"), ("kill -9 $$", "ended by SIGKILL")]
)
async def test_command_that_fails_is_told_with_its_status(command: str, complaint: str) -> None:
    with (
        await open_link(f"cmd:sh -c '{command}'") as link,
        trio.fail_after(5),
        pytest.raises(LinkError, match=complaint),
    ):
        await link.run(RecordingPlace(link))


async def test_command_that_ends_well_ends_its_link() -> None:
    with await open_link("cmd:true") as link, trio.fail_after(5):
        await link.run(RecordingPlace(link))


@pytest.mark.parametrize("restart", ["", "restart:"])
async def test_command_that_does_not_exist_is_an_error_at_once(restart: str) -> None:
    with pytest.raises(LinkError, match="there is no command 'no-such-program'"):
        await open_link(f"cmd:{restart}no-such-program --x")


async def test_command_is_started_again_when_asked(tmp_path: Path, nursery: trio.Nursery) -> None:
    script = tmp_path / "once.py"
    script.write_text(
        f"import sys, pathlib\n"
        f"pathlib.Path({str(tmp_path / 'runs')!r}).open('a').write('x')\n"
        f"sys.stdout.buffer.write({framed(FRAME)!r})\n"
        f"sys.exit(1)\n"
    )
    with await open_link(f"cmd:restart:{sys.executable} {script}") as link:
        place = RecordingPlace(link)
        await nursery.start(link.run, place)
        await until(lambda: len(place.frames) >= 2)
        assert (tmp_path / "runs").read_text().startswith("xx")
        nursery.cancel_scope.cancel()


async def test_command_ends_with_its_link_even_if_it_will_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vport.links.pipes.GRACE", 0.1)
    pid = tmp_path / "pid"
    stubborn = f"sh -c 'trap \"\" TERM; echo $$ > {pid}; while :; do sleep 1; done'"
    with await open_link(f"cmd:{stubborn}") as link:
        async with trio.open_nursery() as nursery:
            await nursery.start(link.run, RecordingPlace(link))
            await until(lambda: pid.exists() and pid.read_text())
            nursery.cancel_scope.cancel()
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)


async def test_command_that_ends_by_itself_just_when_it_is_asked_to(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = subprocess.Popen.terminate

    def too_late(child: subprocess.Popen[bytes]) -> None:
        os.kill(child.pid, signal.SIGKILL)
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        asked(child)

    monkeypatch.setattr(subprocess.Popen, "terminate", too_late)
    with await open_link("cmd:sleep 60") as link, trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            await nursery.start(link.run, RecordingPlace(link))
            nursery.cancel_scope.cancel()


async def test_command_that_never_reads_fills_a_bounded_queue(nursery: trio.Nursery) -> None:
    with await open_link("cmd:sleep 60") as link:
        await nursery.start(link.run, RecordingPlace(link))
        with trio.fail_after(5):
            while not link.discards["queue-full"]:
                link.transmit(Train(frame(1000) * 60, 1000))
                link.flush()
                await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()
