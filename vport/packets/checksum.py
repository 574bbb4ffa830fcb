"""The Internet checksum over one buffer. Over whole trains see ``vport.checksum``."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vport.ethernet import Buffer


def internet_checksum(data: Buffer) -> int:
    """Give the complement of the one's complement sum of all 16-bit words (RFC 1071).

    An odd last byte counts as if a zero followed. Over data that contains its own right checksum the
    result is 0.
    """
    # The one's complement sum of 16-bit words is the number they form together, modulo 65535: 2^16 is
    # 1 there. Zero has two forms, and only data that is all zeros sums to the plain one.
    number = int.from_bytes(data, "big") << (len(data) % 2 * 8)
    return 0xFFFF - (number % 0xFFFF or (0xFFFF if number else 0))
