"""What is said on a VDE 2 control socket: one request, one reply, no I/O.

A client sends a request that names its datagram socket, the switch replies with the name of its own.
Numbers are in the byte order of the machine. Version 3, with the offsets of its fields::

    0 magic (4)   4 version = 3 (4)   8 type (4)   12 struct sockaddr_un (110)   122 description, no NUL

Version 1 has no version field and six unused bytes::

    0 magic (4)   4 type (4)   8 unused (6)        14 struct sockaddr_un (110)   124 description, no NUL

The lowest byte of ``type`` is 0 for any port or the one whose number stands in the other bytes, 1 for
port 0. A reply is a ``struct sockaddr_un``. The end of a request is nowhere marked: clients send it in one
piece, so what is there together with the fixed part is the description.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from vport.errors import RemoteProtocolError

MAGIC: Final = 0xFEEDFACE
VERSION: Final = 3
AF_UNIX: Final = 1  # linux/socket.h
PATH_SIZE: Final = 108  # of sun_path, the NUL at the end included (unix(7))
SOCKADDR_SIZE: Final = 2 + PATH_SIZE
DESCRIPTION_MAXIMUM: Final = 127  # bytes that clients send at most

_TYPE_ANY: Final = 0
_TYPE_PORT_ZERO: Final = 1
_WORDS: Final = struct.Struct("=III")
_SOCKADDR: Final = struct.Struct(f"=H{PATH_SIZE}s")
_START_V3: Final = 12  # offset of the sockaddr_un
_START_V1: Final = 14
FIXED_SIZE_V3: Final = _START_V3 + SOCKADDR_SIZE
FIXED_SIZE_V1: Final = _START_V1 + SOCKADDR_SIZE
REQUEST_MAXIMUM: Final = 512  # bytes; more is no request (descriptions are short, but let them be longer)


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A client's wish to be plugged in.

    Attributes:
        path: of the client's datagram socket as bytes; an abstract name begins with NUL and has all
            its 108 bytes, because that is how clients bind it.
        port: the port it asks for, None for any. Port 0 is one of its own in VDE 2.
        description: what the client says about itself, cleaned for printing.
        version: of the request, 3 or 1.
    """

    path: bytes
    port: int | None = None
    description: str = ""
    version: int = VERSION

    @property
    def is_abstract(self) -> bool:
        """Whether the socket has a name but no file."""
        return self.path[:1] == b"\0"


def encode_sockaddr(path: bytes) -> bytes:
    """Write a ``struct sockaddr_un``. The path must fit: 107 bytes, or 108 of an abstract name."""
    assert len(path) < PATH_SIZE or path[:1] == b"\0"
    return _SOCKADDR.pack(AF_UNIX, path)


def decode_sockaddr(data: bytes) -> bytes:
    """Read the path of a ``struct sockaddr_un``.

    Raises:
        RemoteProtocolError: another address family, or no name at all.
    """
    if len(data) != SOCKADDR_SIZE:
        raise RemoteProtocolError(f"an address of {len(data)} bytes, expected {SOCKADDR_SIZE}")
    family, name = _SOCKADDR.unpack(data)
    if family != AF_UNIX:
        raise RemoteProtocolError(f"address family {family} is not that of Unix sockets")
    path: bytes = name if name[:1] == b"\0" else name.split(b"\0", 1)[0]
    if not path.strip(b"\0"):
        raise RemoteProtocolError("the socket has no name")
    return path


def encode_request(request: Request) -> bytes:
    """Write a request of version 3."""
    description = request.description.encode()[:DESCRIPTION_MAXIMUM]
    kind = _TYPE_PORT_ZERO if request.port == 0 else (request.port or 0) << 8 | _TYPE_ANY
    return _WORDS.pack(MAGIC, VERSION, kind) + encode_sockaddr(request.path) + description


def needed_size(data: bytes) -> int:
    """Say how many bytes a request that begins with ``data`` has at least.

    Raises:
        RemoteProtocolError: it is none, or of a version that nobody speaks.
    """
    magic = MAGIC.to_bytes(4, "little" if _WORDS.pack(1, 0, 0)[0] else "big")
    if data[:4] != magic[: len(data[:4])]:
        raise RemoteProtocolError("wrong magic number")
    if len(data) < 8:
        return FIXED_SIZE_V3
    (word,) = struct.unpack_from("=I", data, 4)
    if word == VERSION:
        return FIXED_SIZE_V3
    if word in (_TYPE_ANY, _TYPE_PORT_ZERO):
        return FIXED_SIZE_V1
    raise RemoteProtocolError(f"version {word} of the protocol is unknown")


def decode_request(data: bytes) -> Request:
    """Read a whole request.

    Raises:
        RemoteProtocolError: it is malformed or incomplete.
    """
    size = needed_size(data)
    if not size <= len(data) <= REQUEST_MAXIMUM:
        raise RemoteProtocolError(f"a request of {len(data)} bytes, expected {size} to {REQUEST_MAXIMUM}")
    is_v3 = size == FIXED_SIZE_V3
    (kind,) = struct.unpack_from("=I", data, 8 if is_v3 else 4)
    return Request(
        path=decode_sockaddr(data[size - SOCKADDR_SIZE : size]),
        port=_decode_port(kind),
        description=clean_description(data[size:]),
        version=VERSION if is_v3 else 1,
    )


def _decode_port(kind: int) -> int | None:
    number, low = kind >> 8, kind & 0xFF
    if low == _TYPE_ANY:
        return number or None
    if low == _TYPE_PORT_ZERO and not number:
        return 0
    raise RemoteProtocolError(f"request type {kind:#x} is unknown")


def clean_description(data: bytes) -> str:
    """Make a line for people of what a stranger says about himself."""
    text = data.split(b"\0", 1)[0][:DESCRIPTION_MAXIMUM].decode(errors="replace")
    return "".join(character if character.isprintable() else "?" for character in text)
