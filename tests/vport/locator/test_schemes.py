from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vport.errors import SettingsError
from vport.ethernet import MacAddress
from vport.locator import (
    SCHEMES,
    CmdLocator,
    HostLocator,
    Locator,
    PcapLocator,
    StdioLocator,
    TapLocator,
    TcpLocator,
    UdpLocator,
    UnixgramLocator,
    UnixLocator,
    VdeLocator,
    explain,
    parse,
)


def test_udp_locator_reads_host_port_and_options() -> None:
    assert parse("udp://198.51.100.5:9999?idle=60&mac=02:00:00:00:00:01") == UdpLocator(
        host="198.51.100.5", port=9999, idle=60.0, mac=MacAddress(bytes.fromhex("020000000001"))
    )


def test_ipv6_host_stands_in_brackets() -> None:
    locator = parse("udp://[fd00::5]:9999")

    assert locator == UdpLocator(host="fd00::5", port=9999)
    assert str(locator) == "udp://[fd00::5]:9999"


def test_repeatable_option_collects_its_values() -> None:
    assert parse("tap://tap0?address=10.1.1.1/24&address=fd00::1/64&up=no") == TapLocator(
        name="tap0",
        address=(ipaddress.ip_interface("10.1.1.1/24"), ipaddress.ip_interface("fd00::1/64")),
        up=False,
    )


def test_flag_without_value_is_a_yes() -> None:
    locator = parse("host://10.1.1.2/24?verbose&ping=10.1.1.1")

    assert locator == HostLocator(
        interface=ipaddress.ip_interface("10.1.1.2/24"),
        ping=(ipaddress.ip_address("10.1.1.1"),),
        verbose=True,
    )


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("ftp://x", "must begin with one of udp://, wg://, tap://, host://"),
        ("nonsense", "must begin with one of"),
        ("udp:9999", "expected udp://HOST:PORT"),
        ("udp://host", "not HOST:PORT"),
        ("udp://host:0", "'0' is not a number from 1 to 65535"),
        ("udp://host:70000", "'70000' is not a number from 1 to 65535"),
        ("udp://host:http", "'http' is not a number from 1 to 65535"),
        ("udp://fd00::1:9999", "an IPv6 address goes in brackets"),
        ("udp://[fd00::zz]:9999", "[fd00::zz] is not an IPv6 address"),
        ("udp://[fd00::1::2]:9999", "[fd00::1::2] is not an IPv6 address"),
        ("udp://host:1?speed=9", "unknown option 'speed'; udp has idle, keepalive, local, mac"),
        ("udp://host:1?idle=soon", "option idle: 'soon' is not a time"),
        ("udp://host:1?idle=5&idle=6", "option idle is given twice"),
        ("udp://host:1?mac=ff:ff:ff:ff:ff:ff", "option mac: 'ff:ff:ff:ff:ff:ff' is not the address of one"),
        ("tap://abcdefghijklmnop", "it has 16 bytes, 1 to 15 are allowed"),
        ("tap://", "it has 0 bytes"),
        ("tap://a b", "blanks, / and : are not allowed"),
        ("tap://tap0?mtu=9", "option mtu: '9' is not a number from 68 to 65521"),
        ("tap://tap0?address=10.1.1.1", "not an address with a prefix length"),
        ("tap://tap0?up=perhaps", "neither yes nor no"),
        ("host://10.1.1.2", "not an address with a prefix length"),
        ("vde:///tmp/a[x]", "port 'x' is not a number from 0 to 65535"),
        ("vde:///tmp/a[1]b", "is not DIRECTORY or DIRECTORY[PORT]"),
        ("vde:///tmp/a?mode=rw", "option mode: 'rw' is not a file mode in octal"),
        ("vde:/tmp/a", "expected vde://DIRECTORY[PORT]"),
        ("tcp://host", "not HOST:PORT"),
        ("unix://", "is not the path of a file"),
        ("unixgram:///tmp/x?group=", "is not the name of a group"),
        ("stdio:x", "nothing behind it"),
        ("cmd:", "there is no command"),
        ("cmd:restart:", "there is no command"),
        ("cmd:echo 'a", 'the quotes of "echo \'a" do not match'),
        ("pcap://", "is not the path of a file"),
        ("pcap:///tmp/x?snaplen=13", "option snaplen: '13' is not a number from 14 to 262144"),
        ("pcap:///tmp/x?limit=5GB", "option limit: '5GB' is not a number of bytes, such as 500000, 64K"),
        ("host://10.1.1.2/24?ping=all", "'all' is not an IP address"),
    ],
)
def test_bad_locator_is_refused_with_what_is_right(text: str, complaint: str) -> None:
    with pytest.raises(SettingsError) as caught:
        parse(text)

    assert complaint in str(caught.value)
    assert text in str(caught.value)


macs = st.binary(min_size=6, max_size=6).filter(lambda mac: not mac[0] & 1 and any(mac)).map(MacAddress)
interfaces = st.builds(
    lambda address, length: ipaddress.ip_interface((address, length)),
    st.ip_addresses(v=4) | st.ip_addresses(v=6),
    st.integers(0, 32),
)
file_paths = st.text(min_size=1, max_size=20).filter(lambda path: "\0" not in path and path.isascii())
locators = st.one_of(
    st.builds(
        UdpLocator,
        host=st.ip_addresses(v=4).map(str) | st.ip_addresses(v=6).map(str) | st.just("vs.example.net"),
        port=st.integers(1, 65535),
        mac=st.none() | macs,
        idle=st.integers(1, 999999).map(float),
    ),
    st.builds(
        TapLocator,
        name=st.text("abcz019-.%&=?#", min_size=3, max_size=15),
        mtu=st.none() | st.integers(68, 65521),
        address=st.lists(interfaces, max_size=3).map(tuple),
        bridge=st.none() | st.just("br0"),
        netns=st.none() | st.just("blue&green"),
        up=st.booleans(),
    ),
    st.builds(
        VdeLocator,
        path=st.just("") | file_paths,
        port=st.none() | st.integers(0, 65535),
        mode=st.none() | st.integers(0, 0o7777),
        group=st.none() | st.just("kvm"),
        description=st.none() | st.text(max_size=9),
    ),
    st.builds(TcpLocator, host=st.just("vs.example.net") | st.ip_addresses(v=6).map(str), port=st.just(9)),
    st.builds(UnixLocator, path=file_paths, mode=st.integers(0, 0o777)),
    st.builds(UnixgramLocator, path=file_paths, local=st.none() | file_paths),
    st.just(StdioLocator()),
    st.builds(
        PcapLocator,
        path=file_paths,
        limit=st.none() | st.integers(0, 10**12),
        overwrite=st.booleans(),
        mode=st.integers(0, 0o777),
    ),
    st.builds(
        CmdLocator,
        command=st.sampled_from(["ssh host vde_plug /tmp/b.ctl", "restart:x?y=z&a", "//net/x", "a 'b c'"]),
        restart=st.booleans(),
    ),
    st.builds(HostLocator, interface=interfaces, address=st.lists(interfaces, max_size=2).map(tuple)),
)


@given(locators)
def test_write_then_parse_is_identity(locator: Locator) -> None:
    assert parse(str(locator)) == locator


@given(
    st.text(max_size=60)
    | st.text(max_size=40).map("udp://".__add__)
    | st.text(max_size=40).map("tap://".__add__)
    | st.text(max_size=40).map("vde://".__add__)
    | st.text(max_size=40).map("cmd:".__add__)
)
def test_parse_gives_a_locator_or_settings_error(text: str) -> None:
    try:
        locator = parse(text)
    except SettingsError:
        return
    assert parse(str(locator)) == locator


def test_vde_locator_reads_directory_and_port() -> None:
    assert parse("vde:///tmp/vde.ctl[5]?mode=0660") == VdeLocator(path="/tmp/vde.ctl", port=5, mode=0o660)
    assert parse("vde://") == VdeLocator(path="")


def test_size_of_a_capture_is_in_powers_of_1024() -> None:
    assert parse("pcap:///tmp/lan.pcapng?limit=64K&overwrite") == PcapLocator(
        path="/tmp/lan.pcapng", limit=65536, overwrite=True
    )
    assert parse("pcap:///tmp/lan.pcapng?limit=0") == PcapLocator(path="/tmp/lan.pcapng", limit=0)


def test_command_keeps_everything_behind_the_colon() -> None:
    assert parse("cmd:ssh host 'vde_plug /tmp/b.ctl?x=1&y'") == CmdLocator(
        command="ssh host 'vde_plug /tmp/b.ctl?x=1&y'"
    )
    assert parse("cmd:restart:ssh host").restart  # type: ignore[attr-defined]
    assert parse("cmd: restart:program") == CmdLocator(command="restart:program")
    assert parse("cmd://vde_plug").words == ["vde_plug"]  # type: ignore[attr-defined]


def test_explain_names_every_scheme_and_option() -> None:
    text = explain()

    for locator in SCHEMES.values():
        assert locator.prefix() in text
        assert all(f"      {name}=" in text for name in locator.options())
