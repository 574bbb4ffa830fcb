from __future__ import annotations

import struct

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from vport.errors import RemoteProtocolError
from vport.vde_protocol import (
    FIXED_SIZE_V1,
    FIXED_SIZE_V3,
    MAGIC,
    Request,
    clean_description,
    decode_request,
    decode_sockaddr,
    encode_request,
    encode_sockaddr,
    needed_size,
)


def captured(words: bytes, path: bytes, description: bytes) -> bytes:
    """A request as a little-endian machine sends it."""
    return words + b"\1\0" + path.ljust(108, b"\0") + description


PLUG = captured(
    bytes.fromhex("cefaedfe0300000000000000"),
    b"/tmp/vde/run/py.ctl/.31385-00000",
    b"vdeplug: user=root pid=31385",
)
V1 = captured(
    bytes.fromhex("cefaedfe00000000000000000000"), b"/tmp/vde/run/sw0.ctl/.13185-00003", b"v1 client"
)


def test_request_of_vde_plug_is_read() -> None:
    assert len(PLUG) == 150
    assert decode_request(PLUG) == Request(
        path=b"/tmp/vde/run/py.ctl/.31385-00000", description="vdeplug: user=root pid=31385"
    )


def test_request_of_version_1_is_read() -> None:
    assert len(V1) == 133
    assert decode_request(V1) == Request(
        path=b"/tmp/vde/run/sw0.ctl/.13185-00003", description="v1 client", version=1
    )


@pytest.mark.parametrize(("word", "port"), [(0x500, 5), (1, 0), (0, None), (0xFFFFFF00, 0xFFFFFF)])
def test_type_names_the_port(word: int, port: int | None) -> None:
    data = struct.pack("=III", MAGIC, 3, word) + PLUG[12:]

    assert decode_request(data).port == port


def test_abstract_name_keeps_all_its_bytes() -> None:
    name = (b"\0" + b"\0\0\x12\x34\x05").ljust(108, b"\0")

    request = decode_request(PLUG[:12] + b"\1\0" + name)

    assert request.is_abstract
    assert request.path == name
    assert encode_sockaddr(name) == b"\1\0" + name


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (b"GET / HTTP/1.0\r\n\r\n".ljust(150), "magic"),
        (struct.pack("=III", MAGIC, 2, 0) + PLUG[12:], "version 2"),
        (struct.pack("=III", MAGIC, 4, 0) + PLUG[12:], "version 4"),
        (struct.pack("=III", MAGIC, 3, 2) + PLUG[12:], "type 0x2"),
        (struct.pack("=III", MAGIC, 3, 0x105) + PLUG[12:], "type 0x105"),
        (struct.pack("=III", MAGIC, 3, 0x501) + PLUG[12:], "type 0x501"),
        (PLUG[:12] + b"\2\0" + PLUG[14:], "address family 2"),
        (PLUG[:14] + bytes(108) + PLUG[122:], "no name"),
        (PLUG[:100], "100 bytes"),
        (PLUG + bytes(500), "650 bytes"),
        (b"", "0 bytes"),
    ],
)
def test_malformed_request_is_refused_with_the_reason(data: bytes, complaint: str) -> None:
    with pytest.raises(RemoteProtocolError, match=complaint):
        decode_request(data)


def test_needed_size_tells_the_versions_apart() -> None:
    assert needed_size(PLUG[:1]) == needed_size(PLUG) == FIXED_SIZE_V3
    assert needed_size(V1) == FIXED_SIZE_V1


@given(st.binary(max_size=700) | st.binary(max_size=300).map(PLUG[:12].__add__))
@example(PLUG)
@example(V1)
def test_decode_request_accepts_or_raises_remote_protocol_error(data: bytes) -> None:
    try:
        request = decode_request(data)
    except RemoteProtocolError:
        return
    assert request.path
    assert request.description.isprintable()


paths = st.binary(min_size=1, max_size=107).filter(lambda path: b"\0" not in path)


@given(
    paths,
    st.none() | st.integers(0, 65535),
    st.text(st.characters(codec="ascii", min_codepoint=32, max_codepoint=126), max_size=127),
)
def test_encode_then_decode_is_identity(path: bytes, port: int | None, description: str) -> None:
    request = Request(path=path, port=port, description=description)

    assert decode_request(encode_request(request)) == request


@given(paths)
def test_sockaddr_has_one_size_and_keeps_the_path(path: bytes) -> None:
    data = encode_sockaddr(path)

    assert len(data) == 110
    assert decode_sockaddr(data) == path


def test_description_cannot_drive_a_terminal_or_end_its_line() -> None:
    assert clean_description(b"a\x1b[2J\nb\xff\0hidden") == "a?[2J?b\ufffd"
    assert len(clean_description(b"x" * 300)) == 127
