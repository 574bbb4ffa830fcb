"""Measure Ethernet overlays side by side, in one run, on one machine.

Three network namespaces stand for three hosts on one underlay bridge (MTU 1500):

    S  10.200.0.1   runs the switch
    A  10.200.0.2   runs a client, overlay device in A, 10.201.0.2
    B  10.200.0.3   runs a client, overlay device in B, 10.201.0.3

Every contender joins A and B to one Ethernet through S, then the same traffic runs from A to B:

    ping      median round trip of 200 echo requests, ms
    tcp1      iperf3, one stream, Gbit/s received
    tcp4      iperf3, four streams
    rev       iperf3 -R, one stream
    pps64     UDP datagrams of 64 bytes, thousands delivered per second
    cpu       CPU seconds of the whole machine per GB moved in tcp1 (both cores, everything counted)

Rounds interleave the contenders, so that a drift of the machine hits all alike; the table gives the
median over rounds and the ratio to each reference named with --ref.

    sudo .venv/bin/python -m tests.bench.bench_overlay                          # all that are installed
    sudo .venv/bin/python -m tests.bench.bench_overlay -c ours vde vxlan -n 3   # some, three rounds
    ... --vport '.venv/bin/vport udp://10.200.0.1:9999 tap://{tap}?offload=no'  # other commands of ours
    ... --json out.json

Needs root, iproute2, iperf3, iputils-ping; the peers: vde2, n2n, tinc (Debian packages of those names).
All traffic stays inside the namespaces, which are made and removed here.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import shlex
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PREFIX = "ob"  # of every namespace and underlay device made here
HOSTS = {"S": "10.200.0.1", "A": "10.200.0.2", "B": "10.200.0.3"}
OVERLAY = {"A": "10.201.0.2", "B": "10.201.0.3"}
SECONDS = 4
OURS = f"{shlex.quote(sys.executable)} -m "  # run it from the root of the repository


def ns(host: str) -> str:
    return PREFIX + host


def sh(command: str, check: bool = True) -> str:
    done = subprocess.run(command, shell=True, text=True, capture_output=True)
    if check and done.returncode:
        raise RuntimeError(f"{command}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def underlay_up() -> None:
    underlay_down()
    for host in HOSTS:
        sh(f"ip netns add {ns(host)} && ip -n {ns(host)} link set lo up")
    s = ns("S")
    sh(f"ip -n {s} link add bru type bridge")
    sh(f"ip -n {s} addr add {HOSTS['S']}/24 dev bru && ip -n {s} link set bru up")
    for host in "AB":
        sh(f"ip link add u{host} netns {s} type veth peer name u0 netns {ns(host)}")
        sh(f"ip -n {s} link set u{host} master bru up")
        sh(f"ip -n {ns(host)} addr add {HOSTS[host]}/24 dev u0 && ip -n {ns(host)} link set u0 up")


def underlay_down() -> None:
    for host in HOSTS:
        sh(f"ip netns del {ns(host)}", check=False)


class Daemons:
    """Processes of one contender, started in namespaces and always ended."""

    def __init__(self, scratch: Path) -> None:
        self.scratch = scratch
        self.started: list[subprocess.Popen[bytes]] = []

    def start(self, host: str, command: str, env: dict[str, str] | None = None) -> None:
        log = (self.scratch / f"{len(self.started)}-{host}.log").open("wb")
        self.started.append(
            subprocess.Popen(
                ["ip", "netns", "exec", ns(host), *shlex.split(command)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **(env or {})},
                start_new_session=True,
            )
        )

    def end(self) -> None:
        for process in reversed(self.started):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
        for process in self.started:
            try:
                process.wait(3)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def wait_for_device(host: str, device: str, seconds: float = 15) -> None:
    end = time.monotonic() + seconds
    while not re.search(
        rf"^\d+: {re.escape(device)}[@:]", sh(f"ip -n {ns(host)} -o link show"), re.MULTILINE
    ):
        if time.monotonic() > end:
            raise RuntimeError(f"no device {device} on {host}")
        time.sleep(0.1)


def address(devices: dict[str, str], mtu: int) -> None:
    for host, device in devices.items():
        wait_for_device(host, device)
        sh(f"ip -n {ns(host)} addr flush dev {device}")
        sh(f"ip -n {ns(host)} addr add {OVERLAY[host]}/24 dev {device}")
        sh(f"ip -n {ns(host)} link set {device} mtu {mtu} up")


# --- contenders: each starts its daemons and gives (devices, overlay MTU) -------------------------------


def ours(d: Daemons, args: argparse.Namespace) -> tuple[dict[str, str], int]:
    d.start("S", args.vswitch)
    time.sleep(1.5)
    for host in "AB":
        d.start(host, args.vport.format(tap=f"t{host}", host=host))
    return {"A": "tA", "B": "tB"}, args.mtu


def make_keys(directory: Path) -> None:
    """Write S.conf for the switch, and A.conf and B.conf for the ports."""
    keys = {host: sh(f"{OURS}vport.cli genkey").strip() for host in HOSTS}
    public = {host: sh(f"echo {key} | {OURS}vport.cli pubkey").strip() for host, key in keys.items()}
    files = {"S": f"[Interface]\nPrivateKey = {keys['S']}\nListenPort = 51820\n"}
    for host in "AB":
        files["S"] += f"[Peer]\nName = {host}\nPublicKey = {public[host]}\n"
        files[host] = (
            f"[Interface]\nPrivateKey = {keys[host]}\n"
            f"[Peer]\nPublicKey = {public['S']}\nEndpoint = {HOSTS['S']}:51820\n"
        )
    for host, text in files.items():
        path = directory / f"{host}.conf"
        path.touch(mode=0o600)
        path.write_text(text)


def secure(d: Daemons, args: argparse.Namespace) -> tuple[dict[str, str], int]:
    """Ours over WireGuard: keys and files are made in {dir}, or by --secure-setup; then the commands run."""
    if args.secure_setup:
        sh(args.secure_setup.format(dir=d.scratch))
    else:
        make_keys(d.scratch)
    d.start("S", args.secure_vswitch.format(dir=d.scratch))
    time.sleep(1.5)
    for host in "AB":
        d.start(host, args.secure_vport.format(tap=f"t{host}", host=host, dir=d.scratch))
    return {"A": "tA", "B": "tB"}, args.secure_mtu


def vde(d: Daemons, args: argparse.Namespace) -> tuple[dict[str, str], int]:
    ctl = d.scratch / "ctl"
    d.start("S", f"sh -c 'sleep 1000 | vde_switch -s {ctl}'")  # it ends with its standard input
    time.sleep(0.5)
    for host in "AB":
        d.start(host, f"vde_plug2tap -s {ctl} t{host}")
    return {"A": "tA", "B": "tB"}, 1500


def vxlan(d: Daemons, args: argparse.Namespace) -> tuple[dict[str, str], int]:
    """The kernel's own: VXLAN tunnels into a kernel bridge on S; no user space in the way."""
    s = ns("S")
    sh(f"ip -n {s} link add brv type bridge && ip -n {s} link set brv up")
    for number, host in enumerate("AB", 41):
        sh(
            f"ip -n {ns(host)} link add vxl type vxlan id {number} "
            f"local {HOSTS[host]} remote {HOSTS['S']} dstport 4789"
        )
        sh(
            f"ip -n {s} link add vx{host} type vxlan id {number} "
            f"local {HOSTS['S']} remote {HOSTS[host]} dstport 4789"
        )
        sh(f"ip -n {s} link set vx{host} master brv up")
    return {"A": "vxl", "B": "vxl"}, 1450


def bridge(d: Daemons, args: argparse.Namespace) -> tuple[dict[str, str], int]:
    """The limit: veth and kernel bridge alone, no tunnel."""
    return {"A": "u0", "B": "u0"}, 1500


def n2n(d: Daemons, args: argparse.Namespace) -> tuple[dict[str, str], int]:
    d.start("S", "supernode -l 7777 -f")
    time.sleep(0.5)
    for host in "AB":
        d.start(
            host, f"edge -d t{host} -a {OVERLAY[host]} -c bench -k secretkey -l {HOSTS['S']}:7777 -f -M 1400"
        )
    time.sleep(3)
    return {"A": "tA", "B": "tB"}, 1290


def tinc(d: Daemons, args: argparse.Namespace) -> tuple[dict[str, str], int]:
    for host in "SAB":
        home = d.scratch / host
        (home / "hosts").mkdir(parents=True)
        connect = "" if host == "S" else "ConnectTo=S\n"
        (home / "tinc.conf").write_text(
            f"Name={host}\nMode=switch\nDeviceType=tap\nInterface=t{host}\n{connect}"
        )
        up = home / "tinc-up"
        up.write_text("#!/bin/sh\nip link set $INTERFACE up\n")
        up.chmod(0o755)
        (home / "hosts" / host).touch()
        sh(f"yes '' | tincd -c {home} -K2048")
    with open(d.scratch / "S/hosts/S", "a") as own:
        own.write(f"Address={HOSTS['S']}\n")
    for host in "SAB":
        for other in "SAB":
            if other != host:
                shutil.copy(d.scratch / host / "hosts" / host, d.scratch / other / "hosts" / host)
    for host in "SAB":
        d.start(host, f"tincd -D -c {d.scratch / host} --pidfile={d.scratch / host}.pid")
    time.sleep(3)
    return {"A": "tA", "B": "tB"}, 1400


CONTENDERS: dict[str, tuple[Callable[..., tuple[dict[str, str], int]], str | None]] = {
    "ours": (ours, None),
    "secure": (secure, None),
    "vde": (vde, "vde_switch"),
    "vxlan": (vxlan, None),
    "bridge": (bridge, None),
    "n2n": (n2n, "edge"),
    "tinc": (tinc, "tincd"),
}


# --- the measurements ----------------------------------------------------------------------------------


@contextlib.contextmanager
def iperf_server() -> Iterator[None]:
    process = subprocess.Popen(
        ["ip", "netns", "exec", ns("B"), "iperf3", "-s"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    time.sleep(0.4)
    try:
        yield
    finally:
        process.terminate()
        process.wait()


def iperf(options: str) -> dict:
    out = sh(
        f"timeout {SECONDS * 3} ip netns exec {ns('A')} iperf3 -c {OVERLAY['B']} -t {SECONDS} -J {options}",
        check=False,
    )
    try:
        result = json.loads(out)["end"]
    except (json.JSONDecodeError, KeyError):
        raise RuntimeError(f"iperf3 {options}: {out[-200:]}") from None
    return result


def busy_seconds() -> float:
    fields = [int(x) for x in Path("/proc/stat").read_text().split("\n")[0].split()[1:8]]
    return (sum(fields) - fields[3] - fields[4]) / os.sysconf("SC_CLK_TCK")


def measure(quick: bool) -> dict[str, float]:
    result: dict[str, float] = {}
    a = ns("A")
    end = time.monotonic() + 10
    while "1 received" not in sh(f"ip netns exec {a} ping -c1 -W1 {OVERLAY['B']}", check=False):
        if time.monotonic() > end:
            raise RuntimeError("no ping through the overlay within 10 s")
    out = sh(f"ip netns exec {a} ping -c200 -i0.005 {OVERLAY['B']}", check=False)
    times = [float(x) for x in re.findall(r"time=([\d.]+)", out)]
    result["ping"] = statistics.median(times)
    with iperf_server():
        before = busy_seconds()
        end_block = iperf("")["sum_received"]
        result["tcp1"] = end_block["bits_per_second"] / 1e9
        result["cpu"] = (busy_seconds() - before) / (end_block["bytes"] / 1e9)
        if not quick:
            result["tcp4"] = iperf("-P 4")["sum_received"]["bits_per_second"] / 1e9
            result["rev"] = iperf("-R")["sum_received"]["bits_per_second"] / 1e9
        udp = iperf("-u -b 0 -l 64 -w 4M")["sum"]
        result["pps64"] = (udp["packets"] - udp["lost_packets"]) / udp["seconds"] / 1e3
    return result


def run_once(name: str, args: argparse.Namespace) -> dict[str, float]:
    contender, _ = CONTENDERS[name]
    underlay_up()
    with tempfile.TemporaryDirectory(prefix="overlay-bench-") as scratch:
        daemons = Daemons(Path(scratch))
        try:
            devices, mtu = contender(daemons, args)
            address(devices, mtu)
            time.sleep(1)
            return measure(args.quick)
        except Exception:
            for log in sorted(Path(scratch).glob("*.log")):
                tail = log.read_text(errors="replace")[-600:]
                if tail:
                    print(f"--- {name} {log.name}\n{tail}", file=sys.stderr)
            raise
        finally:
            daemons.end()
            underlay_down()


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "-c", "--contenders", nargs="+", choices=CONTENDERS, help="default: all installed, without secure"
    )
    parser.add_argument("-n", "--rounds", type=int, default=3)
    parser.add_argument("-q", "--quick", action="store_true", help="ping, tcp1, cpu and pps64 only")
    parser.add_argument("--ref", nargs="+", default=["vde", "vxlan"])
    parser.add_argument("--json", type=Path)
    parser.add_argument("--vswitch", default=f"{OURS}vswitch.cli --listen udp://{HOSTS['S']}:9999")
    parser.add_argument("--vport", default=f"{OURS}vport.cli udp://{HOSTS['S']}:9999 tap://{{tap}}")
    parser.add_argument("--mtu", type=int, default=1400, help="overlay MTU of ours")
    parser.add_argument("--secure-setup", default="")
    parser.add_argument("--secure-vswitch", default=f"{OURS}vswitch.cli --listen wg://{{dir}}/S.conf")
    parser.add_argument(
        "--secure-vport", default=f"{OURS}vport.cli wg://{{dir}}/{{host}}.conf tap://{{tap}}?mtu=1400"
    )
    parser.add_argument("--secure-mtu", type=int, default=1400)
    args = parser.parse_args()
    if os.geteuid():
        parser.error("needs root, for network namespaces and TAP devices")
    names = args.contenders or [
        n for n, (_, need) in CONTENDERS.items() if n != "secure" and (not need or shutil.which(need))
    ]
    rmem = sh("sysctl -n net.core.rmem_max").strip()
    sh("sysctl -qw net.core.rmem_max=16777216")
    rounds: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    failed: set[str] = set()
    try:
        for number in range(args.rounds):
            for name in names:
                try:
                    rounds[name].append(run_once(name, args))
                except (RuntimeError, OSError) as error:  # one contender's failure must not hide the others
                    failed.add(name)
                    print(f"{name}: {error}", file=sys.stderr)
                else:
                    shown = "  ".join(f"{k} {v:.3g}" for k, v in rounds[name][-1].items())
                    print(f"round {number + 1} {name:7} {shown}", file=sys.stderr, flush=True)
    finally:
        sh(f"sysctl -qw net.core.rmem_max={rmem}")
        underlay_down()
    medians = {n: {k: statistics.median(r[k] for r in rs) for k in rs[0]} for n, rs in rounds.items() if rs}
    keys = [
        k for k in ("ping", "tcp1", "tcp4", "rev", "pps64", "cpu") if any(k in m for m in medians.values())
    ]
    units = {
        "ping": "ms",
        "tcp1": "Gbit/s",
        "tcp4": "Gbit/s",
        "rev": "Gbit/s",
        "pps64": "kpps",
        "cpu": "s/GB",
    }
    print(
        f"{'':9}"
        + "".join(f"{k + ' ' + units[k]:>14}" for k in keys)
        + "".join(f"{'tcp1/' + r:>13}{'pps/' + r:>11}" for r in args.ref if r in medians)
    )
    for name, median in medians.items():
        row = f"{name:9}" + "".join(f"{median.get(k, float('nan')):14.3f}" for k in keys)
        for ref in args.ref:
            if ref in medians:
                row += f"{median['tcp1'] / medians[ref]['tcp1']:13.2f}"
                row += f"{median['pps64'] / medians[ref]['pps64']:11.2f}"
        print(row)
    if args.json:
        args.json.write_text(json.dumps({"rounds": rounds, "median": medians}, indent=1))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
