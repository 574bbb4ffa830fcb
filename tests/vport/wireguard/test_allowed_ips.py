from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vport.errors import SettingsError
from vport.wireguard.allowed_ips import AllowedIps


def networks(*texts: str) -> list:  # type: ignore[type-arg]
    return [ip_network(text) for text in texts]


def find(table: AllowedIps[str], address: str) -> str | None:
    return table.find(ip_address(address).packed)


def test_longest_match_wins() -> None:
    table: AllowedIps[str] = AllowedIps()
    table.add(networks("0.0.0.0/0", "192.168.50.77/32"), "laptop")
    table.add(networks("192.168.50.0/24", "fd50::/64"), "office")

    assert find(table, "192.168.50.77") == "laptop"
    assert find(table, "192.168.50.78") == "office"
    assert find(table, "8.8.8.8") == "laptop"
    assert find(table, "fd50::5") == "office"
    assert find(table, "fd51::5") is None
    assert find(table, "::192.168.50.77") is None


def test_prefix_belongs_to_one_peer_and_nothing_is_half_added() -> None:
    table: AllowedIps[str] = AllowedIps()
    table.add(networks("10.0.0.0/8"), "first")

    with pytest.raises(SettingsError, match=r"10\.0\.0\.0/8"):
        table.add(networks("10.1.0.0/16", "10.0.0.0/8"), "second")

    assert len(table) == 1
    assert find(table, "10.1.0.1") == "first"
    table.add(networks("10.0.0.0/8", "10.0.0.0/8"), "first")
    assert len(table) == 1


def test_table_is_bounded() -> None:
    table: AllowedIps[str] = AllowedIps(limit=2)

    with pytest.raises(SettingsError, match="more than 2"):
        table.add(networks("10.0.0.1/32", "10.0.0.2/32", "10.0.0.3/32"), "greedy")
    assert find(table, "10.0.0.1") is None
    table.add(networks("10.0.0.1/32", "10.0.0.2/32"), "modest")


def test_removed_owner_is_found_no_more() -> None:
    table: AllowedIps[str] = AllowedIps()
    table.add(networks("10.0.0.0/8", "fd50::/64"), "first")
    table.add(networks("10.1.0.0/16"), "second")

    table.remove("second")

    assert find(table, "10.1.0.1") == "first"
    assert len(table) == 2
    table.add(networks("10.1.0.0/16"), "third")
    assert find(table, "10.1.0.1") == "third"


PREFIXES = st.builds(
    lambda number, length: ip_network((number >> (32 - length) << (32 - length), length)),
    st.integers(0, (1 << 32) - 1).map(lambda number: number & 0x00030303),
    st.integers(8, 32),
)


@given(st.dictionaries(PREFIXES, st.sampled_from("abc"), max_size=40), st.integers(0, 0x03030303))
def test_find_agrees_with_a_search_over_all(owners: dict, number: int) -> None:  # type: ignore[type-arg]
    table: AllowedIps[str] = AllowedIps()
    for network, owner in owners.items():
        table.add([network], owner)
    address = ip_address(number)

    holders = [network for network in owners if address in network]
    expected = owners[max(holders, key=lambda network: network.prefixlen)] if holders else None

    assert table.find(address.packed) == expected
    assert len(table) == len(owners)
