"""DHCP messages as values (RFC 2131 section 2, RFC 2132), encoded and decoded by pyroute2.

The library's own list of options turns what stations send into values that raise, log or lose the options
behind them when malformed. So the options are checked here first, and decoded as bare bytes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import IntEnum
from ipaddress import IPv4Address
from typing import TYPE_CHECKING, Any, ClassVar, Final

from pyroute2.dhcp.dhcp4msg import dhcp4msg
from pyroute2.dhcp.enums.dhcp import Option

from vport.errors import FrameError
from vport.ethernet import MacAddress, format_mac, is_multicast, parse_mac

if TYPE_CHECKING:
    from collections.abc import Mapping

SERVER_PORT: Final = 67
CLIENT_PORT: Final = 68
_FIXED_SIZE: Final = 240  # the BOOTP header and the magic cookie in front of the options
_COOKIE: Final = b"\x63\x82\x53\x63"
_REQUEST: Final = 1  # op
_REPLY: Final = 2
_ETHERNET: Final = 1  # htype
_BROADCAST: Final = 0x8000  # flags
_MINIMUM: Final = 300  # bytes of a BOOTP message (RFC 1542 section 2.1)
_MAXIMUM: Final = 1472  # ours: what one Ethernet frame carries
_PAD: Final = 0
_END: Final = 255
NO_ADDRESS: Final = IPv4Address(0)


class Kind(IntEnum):
    """What a message is (RFC 2132 section 9.6)."""

    DISCOVER = 1
    OFFER = 2
    REQUEST = 3
    DECLINE = 4
    ACK = 5
    NAK = 6
    RELEASE = 7
    INFORM = 8


class _Received(dhcp4msg):  # type: ignore[misc]  # pyroute2 has no types
    """A message whose options are decoded as lists of bytes."""

    options: ClassVar[Any] = tuple(
        (option, "array8")
        for option in (
            Option.HOST_NAME,
            Option.REQUESTED_IP,
            Option.MESSAGE_TYPE,
            Option.SERVER_ID,
            Option.CLIENT_ID,
        )
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a client sends.

    Attributes:
        kind: one of ``Kind``, or a number that means nothing to us.
        transaction: the client's number for the exchange.
        seconds: since the client began.
        client_address: what it has configured already, or 0.0.0.0.
        relay: the agent that forwarded it, or 0.0.0.0.
        wants_broadcast: it cannot receive unicast yet.
        client_id: how it wants to be known; None for its MAC address.
        requested: the address that it asks for.
        server: the server that it has chosen.
        host_name: its name, if that is one.
    """

    kind: int
    transaction: int
    mac: MacAddress
    seconds: int = 0
    client_address: IPv4Address = NO_ADDRESS
    relay: IPv4Address = NO_ADDRESS
    wants_broadcast: bool = False
    client_id: bytes | None = None
    requested: IPv4Address | None = None
    server: IPv4Address | None = None
    host_name: str | None = None


def decode_request(data: bytes) -> Request:
    """Decode what came to the server's port.

    Raises:
        FrameError: it is no DHCP message of a client on Ethernet.
    """
    if not _FIXED_SIZE < len(data) <= _MAXIMUM or data[236:_FIXED_SIZE] != _COOKIE:
        raise FrameError(f"{len(data)} bytes are no DHCP message")
    mac = MacAddress(data[28:34])
    if data[:3] != bytes((_REQUEST, _ETHERNET, 6)) or is_multicast(mac) or not any(mac):
        raise FrameError("no request of a station on Ethernet")
    _check_options(data)
    message = _Received(buf=data).decode()
    options: dict[str, list[int]] = message["options"]
    kind = bytes(options.get("message_type", ()))
    if len(kind) != 1:
        raise FrameError("a BOOTP message without the type that DHCP has")
    return Request(
        kind=kind[0],
        transaction=message["xid"],
        mac=parse_mac(message["chaddr"]),
        seconds=message["secs"],
        client_address=IPv4Address(message["ciaddr"]),
        relay=IPv4Address(message["giaddr"]),
        wants_broadcast=bool(message["flags"] & _BROADCAST),
        client_id=bytes(options["client_id"]) if len(options.get("client_id", ())) >= 2 else None,
        requested=_address(options.get("requested_ip")),
        server=_address(options.get("server_id")),
        host_name=_host_name(bytes(options.get("host_name", ()))),
    )


def _check_options(data: bytes) -> None:
    """Walk over the options: each has a code and a length but padding and the end (RFC 2132 section 2)."""
    at = _FIXED_SIZE
    while at < len(data) and data[at] != _END:
        if data[at] == _PAD:
            at += 1
            continue
        if at + 1 == len(data) or at + 2 + data[at + 1] > len(data):
            raise FrameError("a DHCP option is cut short")
        at += 2 + data[at + 1]


def _address(option: list[int] | None) -> IPv4Address | None:
    if option is None:
        return None
    if len(option) != 4:
        raise FrameError(f"a DHCP address of {len(option)} bytes")
    return IPv4Address(bytes(option))


def _host_name(option: bytes) -> str | None:
    """Give the first label of a host name in lower case, None when it is not fit for the DNS (RFC 1123)."""
    label = option.rstrip(b"\0").decode("ascii", errors="replace").lower().partition(".")[0]
    return label if re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", label) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What the server answers to ``request``.

    Attributes:
        server: our address.
        address: the client's, 0.0.0.0 where none is given.
        options: further options by pyroute2's names.
    """

    kind: Kind
    request: Request
    server: IPv4Address
    address: IPv4Address = NO_ADDRESS
    options: Mapping[str, Any]

    def encode(self) -> bytes:
        """Give the message, padded to what BOOTP clients expect."""
        request = self.request
        is_refusal = self.kind == Kind.NAK
        message = dhcp4msg(
            {
                "op": _REPLY,
                "htype": _ETHERNET,
                "hlen": 6,
                "xid": request.transaction,
                "flags": _BROADCAST if request.wants_broadcast else 0,
                # RFC 2131 table 3: a NAK carries no addresses.
                "ciaddr": str(NO_ADDRESS if is_refusal else request.client_address),
                "yiaddr": str(self.address),
                "giaddr": str(request.relay),
                "chaddr": format_mac(request.mac),
                "options": {"message_type": self.kind, "server_id": str(self.server), **self.options},
            }
        )
        encoded: bytes = message.encode().buf
        return encoded.ljust(_MINIMUM, b"\0")
