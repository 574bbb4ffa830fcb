"""What spanning tree costs when idle: ``python tests/bench/spanning_tree_idle.py [VLANS [PORTS]]``.

Every port of every VLAN is a designated edge port and sends its hellos; the time is that of building all
events, without sending the frames.
"""

from __future__ import annotations

import sys
import time
from random import Random

from vport.ethernet import Vid, random_mac
from vswitch.spanning_tree import BridgeSettings, SpanningTree

SECONDS = 20.0


def serve(trees: list[SpanningTree], end: float) -> int:
    """Serve every deadline up to ``end``, as the service would; give the number of events."""
    count = 0
    while True:
        now = min([deadline for tree in trees if (deadline := tree.next_deadline()) is not None])
        if now > end:
            return count
        for tree in trees:
            count += len(tree.handle_timer(now))


def main() -> None:
    vlans, ports = [int(word) for word in (*sys.argv[1:], "100", "32")[:2]]
    mac = random_mac(Random(1))
    trees = [SpanningTree(mac, Vid(vid), BridgeSettings(), 0.0) for vid in range(vlans)]
    for tree in trees:
        for port in range(1, ports + 1):
            tree.port_up(port, 0.0, is_tagged=tree is not trees[0])
    serve(trees, 30.0)

    start = time.process_time()
    events = serve(trees, 30.0 + SECONDS)
    spent = time.process_time() - start

    print(f"{vlans} VLANs x {ports} ports: {spent / SECONDS * 1e3:.2f} ms of CPU per idle second")
    print(f"{events / SECONDS:.0f} events per second, {spent / events * 1e6:.1f} us each")


if __name__ == "__main__":
    main()
