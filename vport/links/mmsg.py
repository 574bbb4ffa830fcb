"""recvmmsg and sendmmsg: many datagrams with one system call, through ctypes and without a compiler.

The C structures are NumPy structured arrays, so that a batch is filled in with a few operations on whole
columns. What is received and sent is the business of ``batch_inbox`` and ``batch_outbox``.
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import struct
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    from vport.links.datagrams import SocketAddress

IOVEC: Final = np.dtype([("base", np.uintp), ("len", np.uintp)], align=True)
"""``struct iovec`` (recvmsg(2))."""

MSGHDR: Final = np.dtype(
    [
        ("name", np.uintp),
        ("namelen", np.uint32),
        ("iov", np.uintp),
        ("iovlen", np.uintp),
        ("control", np.uintp),
        ("controllen", np.uintp),
        ("flags", np.int32),
    ],
    align=True,
)
"""``struct msghdr`` (recvmsg(2))."""

MMSGHDR: Final = np.dtype([("header", MSGHDR), ("len", np.uint32)], align=True)
"""``struct mmsghdr`` (recvmmsg(2)): a message, and how many bytes of it were received or sent."""

NAME_SIZE: Final = 32  # room for the longest address, sockaddr_in6 with 28 bytes, and aligned
_CMSG_HEADER: Final = struct.Struct("@Nii")  # struct cmsghdr: length with header, level, type
_SOCKADDR_IN: Final = struct.Struct("!4s8x")  # behind family and port: address, padding
_SOCKADDR_IN6_SIZE: Final = 28
_SOCKADDR_IN_SIZE: Final = 16


class Calls:
    """The two system calls of the C library.

    Args:
        library: where they are; the C library that Python itself uses, if not given.

    Raises:
        OSError: this C library does not have them, or the kernel or a sandbox refuses them.
    """

    def __init__(self, library: ctypes.CDLL | None = None) -> None:
        library = library or ctypes.CDLL(None, use_errno=True)
        try:
            receive, send = library.recvmmsg, library.sendmmsg
        except AttributeError:
            raise OSError("this C library has neither recvmmsg nor sendmmsg") from None
        receive.argtypes = [
            ctypes.c_int,
            ctypes.c_void_p,
            ctypes.c_uint,
            ctypes.c_int,
            ctypes.c_void_p,
        ]
        send.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int]
        receive.restype = send.restype = ctypes.c_int
        self._receive = receive
        self._send = send
        for call, arguments in ((receive, (0, None)), (send, (0,))):
            if call(-1, None, 0, *arguments) < 0 and ctypes.get_errno() != errno.EBADF:
                raise _last_error()  # where the kernel knows the call it finds fault with the descriptor

    def receive(self, descriptor: int, messages: int, count: int) -> int:
        """Fill up to ``count`` ``MMSGHDR`` at the address ``messages``; give how many. Raises OSError."""
        got: int = self._receive(descriptor, messages, count, socket.MSG_DONTWAIT, None)
        if got < 0:
            raise _last_error()
        return got

    def send(self, descriptor: int, messages: int, count: int) -> int:
        """Send ``count`` ``MMSGHDR`` at the address ``messages``; give how many went. Raises OSError."""
        sent: int = self._send(descriptor, messages, count, socket.MSG_DONTWAIT)
        if sent < 0:
            raise _last_error()
        return sent


def _last_error() -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number))


def field_offset(structure: np.dtype[np.void], name: str) -> int:
    """Give where the field ``name`` begins in ``structure``, in bytes."""
    assert structure.fields is not None
    return structure.fields[name][1]


def address_of(array: npt.NDArray[np.generic]) -> int:
    """Give where the array's bytes are."""
    address: int = array.__array_interface__["data"][0]
    return address


def encode_address(family: int, address: SocketAddress) -> bytes:
    """Write an address as C has it: ``struct sockaddr_in`` or ``sockaddr_in6`` (ip(7), ipv6(7))."""
    start = struct.pack("@H", family) + struct.pack("!H", address[1])
    if family == socket.AF_INET:
        return start + _SOCKADDR_IN.pack(socket.inet_pton(family, address[0]))
    host = str(address[0]).partition("%")[0]
    flow = struct.pack("!I", address[2])
    return start + flow + socket.inet_pton(family, host) + struct.pack("@I", address[3])


def decode_address(data: bytes) -> SocketAddress:
    """Read what ``encode_address`` writes."""
    (family,) = struct.unpack_from("@H", data)
    (udp_port,) = struct.unpack_from("!H", data, 2)
    if family == socket.AF_INET:
        return (socket.inet_ntop(family, data[4:8]), udp_port)
    (flow,) = struct.unpack_from("!I", data, 4)
    (scope,) = struct.unpack_from("@I", data, 24)
    return (socket.inet_ntop(family, data[8:24]), udp_port, flow, scope)


def name_size(family: int) -> int:
    """Give the size of an address of the family, as C has it."""
    return _SOCKADDR_IN6_SIZE if family == socket.AF_INET6 else _SOCKADDR_IN_SIZE


def encode_control(level: int, kind: int, data: bytes) -> bytes:
    """Write a control message with its header and padding (cmsg(3))."""
    message = _CMSG_HEADER.pack(socket.CMSG_LEN(len(data)), level, kind) + data
    return message.ljust(socket.CMSG_SPACE(len(data)), b"\0")
