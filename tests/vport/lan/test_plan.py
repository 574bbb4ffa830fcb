from __future__ import annotations

from pathlib import Path

from vport.lan.description import read_lan
from vport.lan.picture import picture
from vport.lan.plan import Forward, MakeBridge, MakeNamespace, PlugIn, RunCable, Translate, make_plan
from vport.nat import nat_rules

HOME = read_lan((Path(__file__).parent / "home.toml").read_text(), "home.toml")


def test_steps_come_in_an_order_that_builds() -> None:
    plan = make_plan(HOME)

    assert [type(step) for step in plan] == [
        *[MakeNamespace] * 2,
        MakeBridge,
        *[PlugIn] * 2,
        Translate,
        Forward,
        RunCable,
    ]
    assert [step.key for step in plan] == [
        "namespace web",
        "namespace db",
        "device br0",
        "device v-web",
        "device vdb",
        "table vswitch-lan-home of nftables",
        "forwarding of IPv4",
        "device tap0",
    ]


def test_all_on_a_bridge_have_its_mtu() -> None:
    plan = make_plan(HOME)

    assert [step.bridge.mtu for step in plan if isinstance(step, MakeBridge)] == [1400]
    assert [step.mtu for step in plan if isinstance(step, PlugIn)] == [1400] * 2
    assert [str(step.tap) for step in plan if isinstance(step, RunCable)] == [
        "tap://tap0?mtu=1400&bridge=br0"
    ]


def test_nat_is_one_table_with_a_rule_for_each_network_and_forward() -> None:
    (step,) = [step for step in make_plan(HOME) if isinstance(step, Translate)]

    commands = nat_rules(step.table, step.nat.outside, step.networks, step.nat.forwards)["nftables"]

    kinds = [next(iter(command["add"])) for command in commands]
    assert kinds == ["table", "chain", "chain", "rule", "rule"]
    assert all(
        command["add"][kind].get("table", command["add"][kind]["name" if kind == "table" else "table"])
        == "vswitch-lan-home"
        for command, kind in zip(commands, kinds, strict=True)
    )
    assert commands[4]["add"]["rule"]["expr"][-1] == {
        "dnat": {"family": "ip", "addr": "10.5.1.1", "port": 80}
    }


def test_picture_shows_who_is_where() -> None:
    assert picture(HOME) == (
        "home (in namespace machine)\n"
        "├─ bridge br0: 10.5.0.1/16, MTU 1400\n"
        "│  ├─ web: eth0 10.5.1.1/16 via 10.5.0.1\n"
        "│  ├─ db: lan0 without an address\n"
        "│  └─ tap0 ══ udp://198.51.100.7:9999?local=:9999\n"
        "└─ out by eth0, with its address: 10.5.0.0/16\n"
        "   └─ tcp 8080 → 10.5.1.1:80\n"
    )
