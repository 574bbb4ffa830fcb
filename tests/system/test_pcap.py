"""``pcap://``: what our commands write is read by tcpdump and tshark."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.system.processes import ROOT, VPORT, VSWITCH, Process
from tests.system.requirements import require_program
from tests.system.waiting import wait_until

if TYPE_CHECKING:
    from pathlib import Path

HOST = "host://10.1.1.1/24"
PINGING = "host://10.1.1.2/24?ping=10.1.1.1&count=3&interval=0.1"


def hub(folder: Path, *options: str) -> list[str]:
    """Give the command of a hub, which sends the pings of its hosts to all."""
    attached = [word for locator in (*options, HOST, PINGING) for word in ("--attach", locator)]
    return [*VSWITCH, "--hub", "--sock", str(folder / "ctl"), *attached]


def said(*command: str) -> str:
    """Run a program that must succeed without a complaint; give what it printed."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    assert "cut short" not in done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def capture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the capture of a hub on which a host was pinged three times, and which then ended."""
    folder = tmp_path_factory.mktemp("hub")
    path = folder / "lan.pcapng"
    with Process(hub(folder, f"pcap://{path}"), folder / "log") as process:
        process.wait_for("port 1: pcap://")
        process.wait_for("seq=3")
        assert process.end() == 0
    return path


def test_capture_is_read_by_tcpdump(capture: Path) -> None:
    require_program("tcpdump")
    lines = said("tcpdump", "-n", "-r", str(capture), "icmp").splitlines()

    assert [line.split("ICMP echo ")[1].split(",")[0] for line in lines] == ["request", "reply"] * 3
    assert capture.stat().st_mode & 0o777 == 0o600


def test_capture_is_read_by_tshark(capture: Path) -> None:
    if shutil.which("tshark") is None:
        pytest.skip(
            "needs the program tshark (apt install tshark)"
        )  # also under CI: tcpdump looks at it there
    fields = said(
        "tshark", "-r", str(capture), "-Y", "icmp", "-T", "fields", "-e", "frame.time_epoch", "-e", "icmp.seq"
    ).splitlines()
    times = [float(line.split("\t")[0]) for line in fields]

    assert len(fields) == 6
    assert times == sorted(times)
    assert abs(times[0] - capture.stat().st_mtime) < 60
    assert not said("tshark", "-r", str(capture), "-Y", "_ws.malformed || icmp.checksum.status == Bad")


def test_standard_output_is_read_live(tmp_path: Path) -> None:
    require_program("tcpdump")
    with (
        (tmp_path / "shown").open("wb") as shown,
        (tmp_path / "log").open("wb") as log,
        subprocess.Popen(
            [*VPORT, "host://10.1.1.2/24?ping=10.1.1.9", "pcap:///dev/stdout"],
            stdout=subprocess.PIPE,
            stderr=log,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        ) as vport,
    ):
        tcpdump = subprocess.Popen(["tcpdump", "-lnr", "-"], stdin=vport.stdout, stdout=shown, stderr=log)
        assert vport.stdout is not None
        vport.stdout.close()
        try:
            wait_until("an ARP request", lambda: b"who-has 10.1.1.9" in (tmp_path / "shown").read_bytes())
        finally:
            tcpdump.terminate()
            tcpdump.wait(10)
        assert vport.wait(10) == 0  # its reader has gone
    assert "Traceback" not in (tmp_path / "log").read_text()


def test_fifo_is_read_live_and_its_reader_may_go(tmp_path: Path) -> None:
    require_program("tcpdump")
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    with Process(hub(tmp_path, f"pcap://{fifo}"), tmp_path / "log") as process:
        process.wait_for("port 1: pcap://")
        process.wait_for("seq=1")  # nobody reads, nobody waits
        shown = tmp_path / "shown"
        with shown.open("wb") as output:
            tcpdump = subprocess.Popen(["tcpdump", "-lnr", str(fifo)], stdout=output, stderr=output)
            try:
                wait_until("tcpdump reads", lambda: b"reading from file" in shown.read_bytes())
            finally:
                tcpdump.terminate()
                tcpdump.wait(10)
        process.wait_for(f"port 1: pcap://{fifo} has left")
        assert process.end() == 0


def test_file_with_something_in_it_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "lan.pcapng"
    path.write_text("precious")
    with Process(hub(tmp_path, f"pcap://{path}"), tmp_path / "log") as process:
        assert process.wait() == 1
    complaint = f"{path} exists and has 8 bytes: give another path, remove it, or add overwrite=yes"
    assert process.output.splitlines()[-1] == f"vswitch: error: {complaint}"
    assert path.read_text() == "precious"
