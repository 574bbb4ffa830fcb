"""Stock WireGuard clients and our own ports on one LAN, each in a network namespace."""

from __future__ import annotations

import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from tests.system.hosts import Underlay
from tests.system.processes import VPORT, VSWITCH, VSWITCHTERM, run
from tests.system.requirements import require_program, require_tun
from tests.system.waiting import wait_until
from tests.system.wireguard_hosts import Keys, StockClient

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator
    from concurrent.futures import Future
    from pathlib import Path

    from tests.system.hosts import Namespace
    from tests.system.processes import Process

    Scenario = Callable[[Path], None]

LAN4, LAN6 = "10.1.1.{}", "fd01::{}"


class Lan:
    """A switch in namespace S, on wg port 51820, with its management socket."""

    def __init__(self, underlay: Underlay, stack: ExitStack, directory: Path) -> None:
        self.underlay = underlay
        self.stack = stack
        self.directory = directory
        self.keys = Keys()
        self.management = str(directory / "mgmt")
        self.key_file = directory / "switch.key"
        self.key_file.write_text(self.keys.private + "\n")
        self.key_file.chmod(0o600)
        self.locator = (
            f"wg://:51820?key=@{self.key_file}&lan=10.1.1.254/24&lan=fd01::fe/64&public=10.200.0.1:51820"
        )
        self.switch = self.start_switch()

    def start_switch(self, *options: str) -> Process:
        options = options or ("--listen", self.locator)
        command = [*self.with_state("state"), *VSWITCH, *options, "--mgmt", self.management]
        process = self.stack.enter_context(self.underlay["S"].start(command))
        process.wait_for("management shell")
        return process

    def with_state(self, name: str) -> list[str]:
        """Give what stands before a command that is to keep its files in a folder of this LAN."""
        return ["env", f"XDG_STATE_HOME={self.directory / name}"]

    def command(self, line: str) -> str:
        done = run([*VSWITCHTERM, self.management, line])
        assert done.returncode == 0, f"{line}: {done.stdout}{done.stderr}"
        return done.stdout

    def join(self, name: str, number: int) -> Process:
        """Join one of our ports with a key that it made, with a TAP device."""
        keys, host = Keys(), self.underlay[name]
        self.command(f"peer/add {name} {keys.public} address={LAN4.format(number)}")
        path = self.directory / f"{name}.key"
        path.write_text(keys.private)
        path.chmod(0o600)
        process = self.stack.enter_context(
            host.start(
                [
                    *VPORT,
                    f"wg://10.200.0.1:51820?peer={self.keys.public}&key=@{path}",
                    f"tap://tap{number}?address={LAN4.format(number)}/24&address={LAN6.format(number)}/64",
                ]
            )
        )
        process.wait_for("connected to")
        return process

    def join_stock(self, name: str, server: str = "10.200.0.1") -> StockClient:
        """Join a stock client with the file that an invitation prints."""
        shown = self.command(f"peer/invite {name} ip")
        return self.start_stock(name, shown.partition("\n\n█")[0], server)

    def start_stock(self, name: str, text: str, server: str) -> StockClient:
        client = self.stack.enter_context(StockClient(self.underlay[name], self.directory))
        addresses = re.findall(r"^Address = (.*)$", text, re.MULTILINE)[0].split(", ")
        kept = [line for line in text.splitlines() if not re.match("Address|MTU|DNS", line)]
        text = "\n".join(kept).replace("10.200.0.1:51820", f"{server}:51820")
        client.configure(text, addresses, ["10.1.1.0/24", "fd01::/64"])
        return client


@contextmanager
def lan(tmp_path: Path, *hosts: str) -> Iterator[Lan]:
    require_tun()
    with Underlay("S", *hosts, logs=tmp_path) as underlay, ExitStack() as stack:
        yield Lan(underlay, stack, tmp_path)


def until_ping(host: Namespace, address: str) -> None:
    wait_until(f"a ping of {address}", lambda: host.can_ping(address))


def add_second_address(host: Namespace) -> None:
    """Give a host 10.200.0.77 as well, which stays when its first address goes."""
    host.run(["sysctl", "-qw", "net.ipv4.conf.all.promote_secondaries=1"])
    host.ip("addr add 10.200.0.77/24 dev u0")


def tcp(client: Namespace, server: Namespace, address: str) -> float:
    """Send for two seconds with TCP; give the Mbit/s that arrived."""
    require_program("iperf3")
    with server.start(["iperf3", "-s", "-1", "--forceflush"]) as listening:
        listening.wait_for("listening")
        done = client.run(["iperf3", "-c", address, "-t", "2", "-f", "m"])
        assert done.returncode == 0, done.stdout + done.stderr
    return float(re.findall(r"([\d.]+) Mbits/sec.*receiver", done.stdout)[0])


def test_stock_client_pings_and_runs_tcp_with_a_linux_host(tmp_path: Path) -> None:
    with lan(tmp_path, "A", "B") as net:
        net.join("A", 11)
        client = net.join_stock("B")
        host, phone = net.underlay["A"], net.underlay["B"]

        until_ping(phone, LAN4.format(11))  # it initiates
        assert phone.ping(LAN4.format(11), count=10) == 10
        until_ping(phone, LAN6.format(11))
        until_ping(host, LAN4.format(1))
        until_ping(host, LAN6.format(1))
        assert tcp(phone, host, LAN4.format(11)) > 5
        assert tcp(host, phone, LAN4.format(1)) > 5
        assert tcp(phone, host, LAN6.format(11)) > 5

        shown = net.command("peer/print B")
        assert "latest handshake" in shown
        assert "present" in shown
        assert "B received" in shown
        assert int(client.show("latest-handshakes").split()[1]) > 0


def test_tcp_between_two_ports_of_ours_and_a_stock_client(tmp_path: Path) -> None:
    """Ours send each other slices; the stock client is sent packets."""
    with lan(tmp_path, "A", "B", "C") as net:
        net.join("A", 11)
        net.join("B", 12)
        net.join_stock("C")
        one, other, phone = (net.underlay[name] for name in "ABC")
        until_ping(one, LAN4.format(12))
        until_ping(phone, LAN4.format(11))
        assert tcp(one, other, LAN4.format(12)) > 5
        until_ping(other, LAN6.format(11))
        assert tcp(other, one, LAN6.format(11)) > 5
        assert tcp(one, phone, LAN4.format(1)) > 5
        assert tcp(phone, other, LAN4.format(12)) > 5


def test_two_stock_clients_reach_each_other_over_ipv4_and_ipv6_underlays(tmp_path: Path) -> None:
    with lan(tmp_path, "A", "B") as net:
        net.join_stock("A")
        net.join_stock("B", server="[fd20::1]")
        until_ping(net.underlay["A"], LAN4.format(2))
        until_ping(net.underlay["B"], LAN6.format(1))
        assert tcp(net.underlay["A"], net.underlay["B"], LAN4.format(2)) > 5


def test_stock_client_roams_without_losing_the_ping_for_more_than_a_second(tmp_path: Path) -> None:
    with lan(tmp_path, "A", "B") as net:
        net.join("A", 11)
        client = net.join_stock("B")
        phone = net.underlay["B"]
        until_ping(phone, LAN4.format(11))
        add_second_address(phone)
        replies: list[subprocess.CompletedProcess[str]] = []
        command = ["ping", "-D", "-n", "-i", "0.05", "-w", "4", LAN4.format(11)]
        pinging = threading.Thread(target=lambda: replies.append(phone.run(command)))
        pinging.start()
        time.sleep(1.5)
        phone.ip("addr del 10.200.0.3/24 dev u0")
        # wireguard-go keeps to its source address until its socket is bound again, as apps do.
        client.host.run(["wg", "set", client.device, "listen-port", "40077"])
        pinging.join()

        found = re.findall(r"^\[([\d.]+)\] \d+ bytes from", replies[0].stdout, re.MULTILINE)
        times = [float(one) for one in found]
        gaps = [after - before for before, after in pairwise(times)]
        assert max(gaps) < 1.0
        assert times[-1] - times[0] > 3
        assert "endpoint: 10.200.0.77" in net.command("peer/print B")
        assert "port 2: wg ip peer B" in net.switch.output
        assert net.switch.output.count("wg ip peer B at 10.200.0.3") >= 1


def test_port_of_ours_roams_and_keeps_its_port(tmp_path: Path) -> None:
    with lan(tmp_path, "A", "B") as net:
        net.join("A", 11)
        net.join("B", 12)
        host = net.underlay["B"]
        until_ping(host, LAN4.format(11))
        add_second_address(host)
        host.ip("addr del 10.200.0.3/24 dev u0")
        until_ping(host, LAN4.format(11))
        shown = net.command("peer/print B")
        assert "endpoint: 10.200.0.77" in shown
        assert "port 2," in shown


def test_removed_peer_is_out_at_once(tmp_path: Path) -> None:
    with lan(tmp_path, "A", "B") as net:
        net.join("A", 11)
        net.join("B", 12)
        until_ping(net.underlay["B"], LAN4.format(11))
        net.command("peer/remove B")
        assert net.underlay["B"].ping(LAN4.format(11), count=5) == 0
        assert "B" not in re.findall("name: (.*)", net.command("peer/print"))
        assert net.underlay["A"].run(["true"]).returncode == 0


# --- what waits until the 15 s are over after which WireGuard gives a session up: all at once ---


@pytest.fixture(scope="module")
def slow_lans(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[Scenario, Future[None]]]:
    """Give what becomes of each scenario, in a LAN of its own."""
    scenarios = (call_a_stock_client, restart_the_switch, invite_a_machine, save_the_configuration)
    with ThreadPoolExecutor(len(scenarios)) as pool:
        yield {one: pool.submit(one, tmp_path_factory.mktemp(one.__name__)) for one in scenarios}


def test_switch_calls_a_stock_client_that_it_has_data_for(slow_lans: dict[Scenario, Future[None]]) -> None:
    slow_lans[call_a_stock_client].result()


def test_peers_survive_a_restart_of_the_switch(slow_lans: dict[Scenario, Future[None]]) -> None:
    slow_lans[restart_the_switch].result()


def test_invited_machine_joins_with_one_line_and_the_token_works_once(
    slow_lans: dict[Scenario, Future[None]],
) -> None:
    slow_lans[invite_a_machine].result()


def test_peers_of_the_configuration_are_there_again_with_the_file_that_was_saved(
    slow_lans: dict[Scenario, Future[None]],
) -> None:
    slow_lans[save_the_configuration].result()


def call_a_stock_client(tmp_path: Path) -> None:
    with lan(tmp_path, "A", "B") as net:
        net.join("A", 11)
        client = net.join_stock("B")
        until_ping(net.underlay["B"], LAN4.format(11))
        # Without its peer the client forgets the session, and it does not know where the switch is.
        peer = net.keys.public
        before = client.show("peers")
        assert peer in before
        psk = client.show("preshared-keys").split()[1]
        client.host.run(["wg", "set", client.device, "peer", peer, "remove"])
        psk_file = tmp_path / "psk"
        psk_file.write_text(psk)
        done = client.host.run(
            ["wg", "set", client.device, "listen-port", client.show("listen-port").strip(), "peer", peer,
             "preshared-key", str(psk_file), "allowed-ips", "10.1.1.0/24,fd01::/64"]
        )  # fmt: skip
        assert done.returncode == 0, done.stderr

        # The switch sends on dead keys, hears nothing for 15 s, and calls.
        host = net.underlay["A"]
        wait_until("the switch to call", lambda: host.can_ping(LAN4.format(1)), seconds=30)
        assert "10.200.0.1" in client.show("endpoints")


def restart_the_switch(tmp_path: Path) -> None:
    with lan(tmp_path, "A", "B") as net:
        net.join("A", 11)
        net.join_stock("B")
        until_ping(net.underlay["B"], LAN4.format(11))
        assert net.switch.end() == 0
        net.switch = net.start_switch()
        wait_until("the LAN to be whole again", lambda: net.underlay["B"].can_ping(LAN4.format(11)), 40)
        assert "port 1," in net.command("peer/print A")
        mode = (tmp_path / "state/vswitch/wireguard-51820.peers").stat().st_mode
        assert mode & 0o777 == 0o600


def invite_a_machine(tmp_path: Path) -> None:
    with lan(tmp_path, "A", "B") as net:
        net.join("A", 11)
        shown = net.command("peer/invite laptop")
        token = re.findall(r"vport join (\S+)", shown)[0]
        join = [*net.with_state("laptop"), *VPORT, "join", token, "--tap", "tapj"]
        laptop = net.stack.enter_context(net.underlay["B"].start(join))
        laptop.wait_for("connected to")
        until_ping(net.underlay["B"], LAN4.format(11))
        until_ping(net.underlay["A"], LAN4.format(1))
        wait_until("the invitation's end", lambda: "invitation" not in net.command("peer/print"))

        # Ended and started again with the same line, it has the same port; elsewhere the token is worthless.
        port = re.findall(r"port (\d+)", net.command("peer/print laptop"))
        assert laptop.end() == 0
        again = net.stack.enter_context(net.underlay["B"].start(join))
        again.wait_for("connected to")
        until_ping(net.underlay["B"], LAN4.format(11))
        assert re.findall(r"port (\d+)", net.command("peer/print laptop")) == port
        thief = net.underlay["A"].run([*net.with_state("thief"), *VPORT, "join", token], seconds=60)
        assert thief.returncode == 1
        assert "does not take this token" in thief.stderr


def save_the_configuration(tmp_path: Path) -> None:
    """A host whose keys the switch made, a stock client of the TOML file; then both from the saved one."""
    saved = tmp_path / "saved.toml"
    phone = Keys()
    with lan(tmp_path, "A", "B") as net:
        assert net.switch.end() == 0
        config = tmp_path / "lan.toml"
        config.write_text(
            f'[[wireguard]]\nlisten = "{net.locator}"\n[[wireguard.peer]]\nname = "phone"\nmode = "ip"\n'
            f'public-key = "{phone.public}"\nport = 9\nallowed-ips = ["{LAN4.format(9)}"]\n'
        )
        net.switch = net.start_switch("--config", str(config))
        file = tmp_path / "host.conf"
        file.write_text(net.command(f"peer/add host address={LAN4.format(11)}"))
        file.chmod(0o600)
        device = f"tap://tap11?address={LAN4.format(11)}/24"
        host = net.underlay["A"]
        net.stack.enter_context(host.start([*VPORT, f"wg://{file}", device])).wait_for("connected to")
        text = (
            f"[Interface]\nPrivateKey = {phone.private}\nAddress = {LAN4.format(9)}/32\n[Peer]\n"
            f"PublicKey = {net.keys.public}\nAllowedIPs = 10.1.1.0/24\nEndpoint = 10.200.0.1:51820\n"
            "PersistentKeepalive = 5\n"
        )
        net.start_stock("B", text, "10.200.0.1")
        until_ping(net.underlay["B"], LAN4.format(11))
        assert "port 9," in net.command("peer/print phone")
        net.command(f"config/save {saved}")
        assert saved.stat().st_mode & 0o777 == 0o600
        place = re.findall("port [0-9]+, VLAN", net.command("peer/print host"))

        assert net.switch.end() == 0
        (tmp_path / "state/vswitch/wireguard-51820.peers").unlink()  # the file is enough
        net.switch = net.start_switch("--config", str(saved))
        wait_until("the LAN to be whole again", lambda: net.underlay["B"].can_ping(LAN4.format(11)), 40)
        assert place == re.findall("port [0-9]+, VLAN", net.command("peer/print host"))
