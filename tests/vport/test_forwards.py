from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_interface

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vport.errors import SettingsError
from vport.forwards import GuestForward, HostEnd, HostForward, Target, Transport
from vport.locator import SlirpLocator, parse


def test_host_forward_reads_all_it_is_given() -> None:
    assert HostForward.read("tcp:127.0.0.1:2222-10.0.2.15:22") == HostForward(
        HostEnd(Transport.TCP, IPv4Address("127.0.0.1"), 2222), IPv4Address("10.0.2.15"), 22
    )
    assert HostForward.read("udp:[::1]:53-[fd00::9]:5353") == HostForward(
        HostEnd(Transport.UDP, IPv6Address("::1"), 53), IPv6Address("fd00::9"), 5353
    )


def test_addresses_can_be_left_out() -> None:
    forward = HostForward.read("tcp::2222-:22")

    assert forward == HostForward(HostEnd(Transport.TCP, IPv4Address(0), 2222), None, 22)
    assert HostForward.read(str(forward)) == forward


def test_end_is_read_from_a_whole_forward_too() -> None:
    assert HostEnd.read("tcp::2222-:22") == HostEnd.read("tcp:0.0.0.0:2222")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("2222:10.0.2.15:22", "not PROTOCOL"),
        ("icmp::1-:2", "not PROTOCOL"),
        ("tcp::0-:22", "'0' is not a number from 1 to 65535"),
        ("tcp::2222-:99999", "'99999' is not a number"),
        ("tcp:localhost:2222-:22", "'localhost' is not an IP address"),
        ("tcp:[::1]:2222-:22", "leads from IPv6"),
        ("tcp:127.0.0.1:2222-[fd00::1]:22", "leads from IPv4"),
    ],
)
def test_bad_host_forward_is_refused(text: str, complaint: str) -> None:
    with pytest.raises(SettingsError) as caught:
        HostForward.read(text)

    assert complaint in str(caught.value)


def test_guest_forward_leads_to_sockets_and_commands() -> None:
    assert GuestForward.read("tcp:10.0.2.100:80-tcp:[::1]:8080").where == "[::1]:8080"
    assert GuestForward.read("tcp:10.0.2.100:80-unix:/run/a-b:c.sock").where == "/run/a-b:c.sock"
    forward = GuestForward.read("tcp:10.0.2.100:80-cmd:/bin/echo a b")
    assert (forward.target, forward.where) == (Target.COMMAND, "/bin/echo a b")
    assert GuestForward.read(str(forward)) == forward


@pytest.mark.parametrize(
    "text",
    [
        "tcp:10.0.2.100:80",
        "udp:10.0.2.100:80-unix:/x",
        "tcp:10.0.2.100:0-unix:/x",
        "tcp:10.0.2.999:1-unix:/x",
        "tcp:10.0.2.100:80-tcp:8080",
        "tcp:10.0.2.100:80-tcp::8080",
        "tcp:10.0.2.100:80-unix:" + "x" * 108,
        "tcp:10.0.2.100:80-cmd:",
    ],
)
def test_bad_guest_forward_is_refused(text: str) -> None:
    with pytest.raises(SettingsError):
        GuestForward.read(text)


@given(st.text(max_size=30) | st.text("tcpud:-0123456789.[]f", max_size=40))
def test_any_text_gives_a_forward_or_settings_error(text: str) -> None:
    for kind in (HostForward, HostEnd, GuestForward):
        try:
            forward = kind.read(text)
        except SettingsError:
            continue
        assert kind.read(str(forward)) == forward


def test_slirp_locator_has_the_usual_network_by_default() -> None:
    locator = parse("slirp://")

    assert isinstance(locator, SlirpLocator)
    assert locator == parse("slirp://10.0.2.0/24") == parse("slirp://10.0.2.2/24")
    assert locator.router == ip_interface("10.0.2.2/24")
    assert (str(locator.dhcp_start), str(locator.dns_address)) == ("10.0.2.15", "10.0.2.3")


def test_slirp_services_can_be_switched_off() -> None:
    locator = parse("slirp://192.168.5.1/24?dhcp=no&dns=no&ipv6=no")

    assert isinstance(locator, SlirpLocator)
    assert locator.dhcp_start is locator.dns_address is locator.ipv6_prefix is None
    assert parse(str(locator)) == locator


def test_slirp_locator_is_written_as_it_is_read() -> None:
    text = (
        "slirp://10.9.0.1/16?dhcp=10.9.1.1&dns=9.9.9.9&ipv6=fd01::/64&hostname=h&domain=d.test&search=a.test"
        "&search=b.test&tftp=/srv/tftp&bootfile=pxe.0&hostfwd=tcp:127.0.0.1:2222-10.9.1.1:22"
        "&hostfwd=udp:[::1]:53-[fd01::5]:53&guestfwd=tcp:10.9.0.9:80-cmd:/bin/cat%20-&restrict=yes&loopback=yes"
        "&mtu=9000&sockets=99"
    )

    assert str(parse(text)) == text


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("slirp://10.0.2.0", "not an IPv4 network"),
        ("slirp://10.0.2.0/30", "a prefix of 30 bits; 8 to 29"),
        ("slirp://10.0.2.0/24?dhcp=10.0.3.1", "dhcp=10.0.3.1 is not the address of a host in 10.0.2.0/24"),
        ("slirp://10.0.2.0/24?dhcp=maybe", "not an IPv4 address"),
        ("slirp://10.0.2.0/24?ipv6=fd00::/48", "64 bits"),
        ("slirp://10.0.2.0/24?ipv6=10.0.0.0/24", "neither an IPv6 prefix"),
        ("slirp://10.0.2.0/24?guestfwd=tcp:10.0.2.2:80-unix:/x", "that nobody else has"),
        ("slirp://10.0.2.0/24?guestfwd=tcp:10.0.3.9:80-unix:/x", "an address in 10.0.2.0/24"),
        ("slirp://10.0.2.0/24?mtu=9", "'9' is not a number from 576"),
        ("slirp://10.0.2.0/24?hostfwd=x", "option hostfwd: 'x' is not PROTOCOL"),
    ],
)
def test_bad_slirp_locator_is_refused_with_what_is_right(text: str, complaint: str) -> None:
    with pytest.raises(SettingsError) as caught:
        parse(text)

    assert complaint in str(caught.value)
