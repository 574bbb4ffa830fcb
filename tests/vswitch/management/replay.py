"""Reads recorded sessions with VDE's switch, and plays them to ours."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import trio

from tests.vswitch.links_in_memory import RecordingLink
from tests.vswitch.management.small_switch import SmallSwitch
from vport.errors import RefusedError
from vport.shell.command import Session, execute
from vport.shell.protocol import ServerProtocol, encode_message
from vport.train import lone
from vswitch.management.control import SocketInfo
from vswitch.management.general import BANNER

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from vport.shell.message import Message
    from vswitch.fabric import Place

ESCAPES: Final = {"n": "\n", "r": "\r", "t": "\t", "\\": "\\"}


# --- reading ---


@dataclass
class Step:
    """Something done, and what VDE's switch said to it.

    Attributes:
        name: unique within the scenario: what was done, and the how-manieth time that is.
        actions: directives that come first.
        sent: what the client wrote, None when it wrote nothing.
        frame: who sends which frame, as text.
        lines: the answer, or who got which frame.
    """

    name: str
    actions: list[str] = field(default_factory=list)
    sent: str | None = None
    frame: str | None = None
    lines: list[str] = field(default_factory=list)


def unescape(text: str) -> str:
    """Read what the recording escaped."""
    return re.sub(
        r"\\(x[0-9a-f]{2}|.)",
        lambda match: chr(int(match[1][1:], 16)) if match[1][0] == "x" else ESCAPES[match[1]],
        text,
    )


def read_steps(path: Path) -> list[Step]:
    """Read a recording."""
    steps = list(_read(path.read_text().split("\n")))
    counts: dict[str, int] = {}
    for step in steps:
        counts[step.name] = counts.get(step.name, 0) + 1
        if counts[step.name] > 1:
            step.name += f" #{counts[step.name]}"
    return steps


def _read(lines: list[str]) -> Iterator[Step]:
    step = Step("start")
    for line in lines:
        if line.startswith("! "):
            if step.lines or step.sent is not None or step.frame is not None:
                yield step
                step = Step("")
            step.actions.append(line[2:])
            step.name = f"! {line[2:]}"[:60]
        elif line.startswith("C| "):
            actions: list[str] = []
            if step.lines or step.sent is not None or step.frame is not None:
                yield step
            else:
                actions = step.actions
            sent = unescape(line[3:])
            step = Step(line[3:].removesuffix("\\n")[:60], actions, sent)
        elif match := re.match(r"# (P\w+) sends (\S+)", line):
            yield step
            step = Step(f"{match[1]} sends {match[2][:40]}", frame=f"{match[1]} {match[2]}")
        elif match := re.match(r"#    -> (?:(P\w+) got (\S+)|nobody)", line):
            if match[1]:
                step.lines.append(f"{match[1]} got {expand(match[2])}")
        elif line[:3] in {"S| ", "S~ "} or line == "S|":
            step.lines.append(("~" if line[1] == "~" else "") + unescape(line[3:]))
    yield step


def expand(text: str) -> str:
    """Complete a frame whose last byte goes on: ``..(64)``."""
    match = re.fullmatch(r"([0-9a-f]+)\.\.\((\d+)\)", text)
    if match is None:
        return text
    return match[1] + match[1][-2:] * (int(match[2]) - len(match[1]) // 2)


# --- comparing ---

_TABLE: Final = re.compile(r"[a-z]+(?:/\S+)? ")


def masked(lines: list[str], ignored: tuple[str, ...], additions: frozenset[str]) -> list[str]:
    """Leave of an answer what must be the same.

    Values that change from run to run are replaced, words of help are left out; so are the rows of tables
    that others look after (``ignored``, by how they start) and those that only we have (``additions``).
    """
    out = []
    in_table = False
    for line in lines:
        if line.startswith("------------"):
            in_table = True
        elif line == ".":
            in_table = False
        elif in_table:
            row = line.split()
            if row[0].startswith(ignored) or row[0] in additions:
                continue
            out.append(" ".join(row[:3]) if len(row) > 2 and row[2] in {"ON", "OFF"} else row[0])
            continue
        if line.startswith("304"):  # of the spanning tree
            continue
        out.append(_mask_line(line))
    return out


def _mask_line(line: str) -> str:
    if re.fullmatch(r"(VDE switch|vswitch) V\..*", line):
        return "NAME V.VERSION"
    if line.startswith("(C) Virtual Square Team") or line == BANNER[1]:
        return "ABOUT"
    line = re.sub(r"^pid \d+ MAC [0-9a-f:]{17} uptime \d+", "pid # MAC # uptime #", line)
    line = re.sub(r"^mgmt \S+ perm", "mgmt # perm", line)
    line = re.sub(r" age \d+ secs", " age # secs", line)
    line = re.sub(r"^( \+\+ root ..:..:)[0-9a-f:]+", r"\1#", line)
    line = re.sub(r"^MAC [0-9a-f:]{17} Priority", "MAC # Priority", line)
    return re.sub(r"^(1\d{3} [^:]*): .*", r"\1", line)


# --- playing ---


class Player:
    """Our switch, in place of the recorded one."""

    def __init__(self) -> None:
        self._has_begun = False
        self._begin(32)

    def _begin(self, port_limit: int) -> None:
        self.switch = SmallSwitch(port_limit)
        self.switch.management = SocketInfo("/run/mgmt", 0o600)
        self.switch.server.send = self._send_message  # type: ignore[method-assign]
        self.switch.server.publish = self._publish  # type: ignore[method-assign]
        self._places: dict[tuple[int, int], Place] = {}
        self._sessions: dict[str, _PlayedSession] = {}
        self._enter("1")

    def _enter(self, name: str) -> None:
        if name not in self._sessions:
            self._sessions[name] = _PlayedSession(self.switch)
        self._current = self._sessions[name]

    def _publish(self, messages: Iterable[Message]) -> None:
        for message in messages:
            self._send_message(message)

    def _send_message(self, message: Message) -> None:
        for session in self._sessions.values():
            if message.category.path in (session.session.subscriptions or ()):
                session.output += encode_message(message)

    def play(self, step: Step) -> list[str]:
        """Do what a step says; give what our switch said, or who got the frame."""
        self.act(step.actions)
        if not self._has_begun and not any("VDE switch V." in line for line in step.lines):
            self._current.output.clear()  # the recording begins behind the banner
        self._has_begun = True
        if step.frame is not None:
            return self._send_and_tell(*step.frame.split())
        if step.sent is not None:
            if self._current.protocol.ended:
                self._sessions.clear()
                self._enter("1")
                self._current.output.clear()
            trio.run(self._current.write, step.sent.encode("latin-1"))
        return self._current.take()

    def act(self, actions: list[str]) -> None:
        """Do what directives say."""
        for action in actions:
            self._act(action)

    def _act(self, action: str) -> None:
        verb, _, rest = action.partition(" ")
        match verb:
            case "plug":
                self._plug(*rest.split(" ", 4))
            case "refused":
                port, user = rest.split()
                try:
                    self.switch.plug("refused", None if port == "-" else int(port), user=user)
                except RefusedError:
                    return
                raise AssertionError(f"{action}: was let in")
            case "unplug":
                port, number = map(int, rest.split())
                self._places.pop((port, number)).detach("test")
            case "send":
                name, frame = rest.rsplit(" ", 1)
                self._deliver(name, bytes.fromhex(frame))
            case "clock":
                self.switch.pass_time(float(rest))
            case "collect":
                self.switch.bridge.fdb.collect(self.switch.clock)
                self.switch.publish_events()
            case "do":
                reply = trio.run(self._execute, rest)
                assert reply == 0, f"{action}: {reply}"
            case "fresh":
                self._begin(int(rest))
                self._has_begun = False
            case "session":
                self._enter(rest)
            case _:
                raise AssertionError(action)

    async def _execute(self, line: str) -> int:
        return (await execute(self.switch, Session(self.switch.catalog), line)).errno

    def _plug(self, port: str, number: str, module: str, user: str, description: str) -> None:
        link = RecordingLink(description)
        link.module = module.replace("_", " ")
        self.switch.bridge._next_endpoint = int(number)
        place = self.switch.fabric.attach(
            link, port=None if port == "-" else int(port), user=None if user == "-" else user
        )
        self._places[place.endpoint.port.number, int(number)] = place

    def _place(self, description: str) -> Place | None:
        for place in self._places.values():
            if place.endpoint.link.description == description:
                return place
        return None

    def _deliver(self, description: str, frame: bytes) -> None:
        place = self._place(description)
        if place is not None:
            place.deliver(lone(frame))
            place.flush()

    def _send_and_tell(self, name: str, frame: str) -> list[str]:
        links = {
            place.endpoint.link.description.replace(" second", "b"): place.endpoint.link
            for place in self._places.values()
        }
        recorders = {key: link for key, link in links.items() if isinstance(link, RecordingLink)}
        for link in recorders.values():
            link.sent.clear()
        self._deliver(name, bytes.fromhex(expand(frame)))
        got = [f"{key} got {one.hex()}" for key, link in sorted(recorders.items()) for one in link.sent]
        return sorted(got)


class _PlayedSession:
    """A session without a socket."""

    def __init__(self, switch: SmallSwitch) -> None:
        self.switch = switch
        self.session = Session(switch.catalog)
        self.protocol = ServerProtocol(BANNER)
        self.output = bytearray(self.protocol.data_to_send())
        self._now = 0.0

    async def write(self, data: bytes) -> None:
        """Take one write of the client, and wait until nothing more happens."""
        self.protocol.receive(data, self._now)
        self._now += 1
        self.protocol.handle_timer(self._now)
        while (line := self.protocol.next_command()) is not None:
            reply = await execute(self.switch, self.session, line)
            self.switch.publish_events()
            self.protocol.reply(reply)
            self.output += self.protocol.data_to_send()
        self.output += self.protocol.data_to_send()

    def take(self) -> list[str]:
        """Give what was said since the last time, as the recording would have it."""
        *lines, rest = self.output.decode().split("\n")
        self.output.clear()
        return [*lines, f"~{rest}"] if rest else lines
