"""What plays the outside world in tests: ``python -m tests.system.outside ADDRESS``.

Serves until it is killed: HTTP on port 8000 of both versions of IP ("hello from outside"), UDP echo on
port 7000, and on port 53 DNS over UDP and TCP, which knows www.example.test and, too long for UDP,
big.example.test.
"""

from __future__ import annotations

import http.server
import socket
import socketserver
import sys
import threading

import dns.flags
import dns.message
import dns.rcode
import dns.rrset

HTTP_PORT = 8000
ECHO_PORT = 7000
GREETING = b"hello from outside\n"


class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(GREETING)))
        self.end_headers()
        self.wfile.write(GREETING)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing."""


class DualStack(http.server.ThreadingHTTPServer):
    address_family = socket.AF_INET6


class Echo(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        data, sock = self.request
        sock.sendto(data, self.client_address)


class EchoServer(socketserver.UDPServer):
    address_family = socket.AF_INET6


def answer(data: bytes, address: str, *, is_stream: bool) -> bytes:
    query = dns.message.from_wire(data)
    response = dns.message.make_response(query)
    name = query.question[0].name.to_text().lower()
    if name == "www.example.test.":
        response.answer = [dns.rrset.from_text(name, 60, "IN", "A", address)]
    elif name == "big.example.test.":
        texts = [f'"{number:03d} {"x" * 200}"' for number in range(12)]
        response.answer = [dns.rrset.from_text(name, 60, "IN", "TXT", *texts)]
        if not is_stream:
            response.answer = []
            response.flags |= dns.flags.TC
    else:
        response.set_rcode(dns.rcode.NXDOMAIN)
    return response.to_wire()


class UdpNames(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        data, sock = self.request
        sock.sendto(answer(data, sys.argv[1], is_stream=False), self.client_address)


class TcpNames(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        size = int.from_bytes(self.request.recv(2), "big")
        data = answer(self.request.recv(size), sys.argv[1], is_stream=True)
        self.request.sendall(len(data).to_bytes(2, "big") + data)


def main() -> None:
    servers: list[socketserver.BaseServer] = [
        DualStack(("::", HTTP_PORT), Page),
        EchoServer(("::", ECHO_PORT), Echo),
        socketserver.UDPServer((sys.argv[1], 53), UdpNames),
        socketserver.ThreadingTCPServer((sys.argv[1], 53), TcpNames),
    ]
    threads = [threading.Thread(target=server.serve_forever) for server in servers]
    for thread in threads:
        thread.start()
    sys.stdout.write("outside is ready\n")
    sys.stdout.flush()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    main()
