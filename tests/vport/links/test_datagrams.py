from __future__ import annotations

import errno
import socket

import pytest

from vport.links.datagrams import (
    SO_RCVBUFFORCE,
    SO_SNDBUFFORCE,
    SOCKET_BUFFER,
    format_address,
    is_literal,
    is_unsupported_family,
    open_socket,
    raise_buffers,
)


class OrdinaryUserSocket(socket.socket):
    """A socket of a user who may not force buffers, on a machine that caps them."""

    def setsockopt(self, level: int, option: int, value: int) -> None:  # type: ignore[override]
        if level == socket.SOL_SOCKET and option in {SO_RCVBUFFORCE, SO_SNDBUFFORCE}:
            raise PermissionError(errno.EPERM, "Operation not permitted")
        super().setsockopt(level, option, min(value, 100_000))


def test_addresses_are_written_as_in_locators() -> None:
    assert format_address(("198.51.100.5", 9999)) == "198.51.100.5:9999"
    assert format_address(("2001:db8::5", 9999, 0, 0)) == "[2001:db8::5]:9999"
    assert format_address(("::ffff:198.51.100.5", 9999, 0, 0)) == "198.51.100.5:9999"


@pytest.mark.parametrize(
    ("host", "expected"),
    [("198.51.100.5", True), ("fd00::1", True), ("fe80::1%lo", True), ("lan.example", False), ("", False)],
)
def test_only_addresses_need_no_lookup(host: str, expected: bool) -> None:
    assert is_literal(host) is expected


def test_buffers_are_raised_without_a_word_where_that_is_possible() -> None:
    with open_socket(socket.AF_INET) as sock:
        complaint = raise_buffers(sock)

        raised = sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) >= 2 * SOCKET_BUFFER
        assert raised == (complaint is None)


def test_capped_buffers_are_told_with_the_settings_that_help() -> None:
    with OrdinaryUserSocket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        assert raise_buffers(sock) == (
            "the kernel caps socket buffers, bursts may be lost; to raise them: "
            f"sysctl -w net.core.rmem_max={SOCKET_BUFFER} net.core.wmem_max={SOCKET_BUFFER}"
        )


def test_missing_ipv6_is_told_from_other_trouble() -> None:
    assert is_unsupported_family(OSError(errno.EAFNOSUPPORT, ""))
    assert not is_unsupported_family(OSError(errno.EADDRINUSE, ""))
