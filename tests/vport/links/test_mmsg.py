from __future__ import annotations

import ctypes
import socket
import struct

from hypothesis import given
from hypothesis import strategies as st

from vport.links.datagrams import SOL_UDP, UDP_SEGMENT
from vport.links.mmsg import (
    IOVEC,
    MMSGHDR,
    Calls,
    decode_address,
    encode_address,
    encode_control,
    name_size,
)


class Iovec(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("len", ctypes.c_size_t))


class Msghdr(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_void_p),
        ("namelen", ctypes.c_uint32),
        ("iov", ctypes.c_void_p),
        ("iovlen", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("controllen", ctypes.c_size_t),
        ("flags", ctypes.c_int),
    )


class Mmsghdr(ctypes.Structure):
    _fields_ = (("header", Msghdr), ("len", ctypes.c_uint))


def test_structures_are_laid_out_as_c_does() -> None:
    assert ctypes.sizeof(Iovec) == IOVEC.itemsize
    assert ctypes.sizeof(Mmsghdr) == MMSGHDR.itemsize
    assert Mmsghdr.len.offset == MMSGHDR.fields["len"][1]
    for name, *_ in Msghdr._fields_:
        assert getattr(Msghdr, name).offset == MMSGHDR["header"].fields[name][1]


@given(st.ip_addresses(v=4), st.integers(0, 65535))
def test_ipv4_address_read_back_is_the_same(host: object, port: int) -> None:
    address = (str(host), port)
    encoded = encode_address(socket.AF_INET, address)

    assert len(encoded) == name_size(socket.AF_INET)
    assert decode_address(encoded) == address


@given(st.ip_addresses(v=6), st.integers(0, 65535), st.integers(0, 2**20 - 1), st.integers(0, 2**31))
def test_ipv6_address_read_back_is_the_same(host: object, port: int, flow: int, scope: int) -> None:
    packed = socket.inet_pton(socket.AF_INET6, str(host))
    address = (socket.inet_ntop(socket.AF_INET6, packed), port, flow, scope)
    encoded = encode_address(socket.AF_INET6, address)

    assert len(encoded) == name_size(socket.AF_INET6)
    assert decode_address(encoded) == address


def test_control_message_is_that_of_the_c_library() -> None:
    encoded = encode_control(SOL_UDP, UDP_SEGMENT, struct.pack("@H", 1400))

    assert len(encoded) == socket.CMSG_SPACE(2)
    assert struct.unpack_from("@NiiH", encoded) == (socket.CMSG_LEN(2), SOL_UDP, UDP_SEGMENT, 1400)


def test_this_c_library_has_the_calls() -> None:
    Calls()
