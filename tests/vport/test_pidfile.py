from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from vport.errors import LinkError
from vport.pidfile import PidFile

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "pid"


def test_file_holds_our_pid_while_it_is_open(path: Path) -> None:
    with PidFile(str(path)) as file:
        assert path.read_text() == f"{os.getpid()}\n"
        assert path.stat().st_mode & 0o022 == 0
    assert not path.exists()
    file.close()


def test_living_process_is_respected(path: Path) -> None:
    path.write_text(f"{os.getppid()}\n")
    with pytest.raises(LinkError, match=f"names process {os.getppid()}, which is running"):
        PidFile(str(path))
    assert path.read_text() == f"{os.getppid()}\n"


@pytest.fixture
def zombie() -> Iterator[subprocess.Popen[bytes]]:
    """Give a process that has ended and that nobody has waited for."""
    with subprocess.Popen(["true"]) as ended:
        os.waitid(os.P_PID, ended.pid, os.WEXITED | os.WNOWAIT)
        yield ended


@pytest.mark.parametrize("content", ["", "dead", "zombie", "ours", "0", "99999999999999"])
def test_stale_file_is_replaced(content: str, path: Path, request: pytest.FixtureRequest) -> None:
    if content == "dead":
        with subprocess.Popen(["true"]) as dead:
            dead.wait()
        content = str(dead.pid)
    elif content == "zombie":
        zombie = request.getfixturevalue("zombie")
        content = str(zombie.pid)
    elif content == "ours":
        content = str(os.getpid())
    path.write_text(content)

    with PidFile(str(path)):
        assert path.read_text() == f"{os.getpid()}\n"


def test_file_of_something_else_is_left_alone(path: Path) -> None:
    for text in ("[section]", "12 34", "-1", "x" * 1000):
        path.write_text(text)
        with pytest.raises(LinkError, match="not a PID file"):
            PidFile(str(path))
        assert path.read_text() == text


def test_what_is_no_file_is_refused(path: Path, tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_text("")
    path.symlink_to(target)
    with pytest.raises(LinkError):
        PidFile(str(path))
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(LinkError):
        PidFile(str(path))
    for wrong in (tmp_path, tmp_path / "no" / "pid"):
        with pytest.raises(LinkError):
            PidFile(str(wrong))


def test_file_that_another_has_taken_over_is_left(path: Path) -> None:
    with PidFile(str(path)):
        path.write_text("1\n")
    assert path.read_text() == "1\n"
