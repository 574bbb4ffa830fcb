"""Two programs that send data to each other and see that they come back as they were sent.

``ECHO`` returns what it is sent, over TCP and in datagrams; it prints ``READY`` first. ``CALL HOST SIZE
LONGEST`` sends it SIZE bytes over TCP and datagrams of up to LONGEST bytes, and fails unless all come back.
"""

from __future__ import annotations

from typing import Final

READY: Final = "ready"

ECHO: Final = """
import socket, sys, threading
def datagrams(sock):
    while True:
        data, address = sock.recvfrom(65536)
        sock.sendto(data, address)
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
udp.bind(("", 7))
threading.Thread(target=datagrams, args=(udp,), daemon=True).start()
with socket.create_server(("", 7)) as server:
    print("ready", flush=True)
    while True:
        sock, _ = server.accept()
        with sock, sock.makefile("rb") as file:
            data = file.read(int(file.readline()))
            sock.sendall(data)
"""

CALL: Final = """
import random, socket, sys
host, size, longest = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
data = random.Random(size).randbytes(size)
with socket.create_connection((host, 7), timeout=10) as sock, sock.makefile("rb") as file:
    sock.sendall(b"%d\\n" % size + data)
    assert file.read() == data, "TCP"
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
    sock.settimeout(0.5)
    for length in {*range(1, longest, 97), longest}:
        for _ in range(5):
            sock.sendto(data[:length], (host, 7))
            try:
                assert sock.recv(65536) == data[:length], "UDP"
                break
            except TimeoutError:
                pass
        else:
            sys.exit("no datagram of %d bytes came back" % length)
"""
