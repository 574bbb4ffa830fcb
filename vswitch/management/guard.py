"""The guard menu: what ports are guarded against, what guards have shut, and how to open it again."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from vport.ethernet import format_mac
from vport.shell.arguments import Integer, Optional, Switch, Word, invalid
from vport.shell.command import Menu, Reply, Session, command
from vswitch.guards import (
    AddressLimit,
    LimitAction,
    LoopSettings,
    MacFlapSettings,
    StormKind,
    StormSettings,
)
from vswitch.guards.mac_limit import LIMIT_MAX as ADDRESSES_MAX
from vswitch.guards.recovery import RECOVERY_MAX
from vswitch.guards.storm_control import LIMIT_MAX as STORM_MAX
from vswitch.management.lookup import PORT, existing_port
from vswitch.ports import DiscardReason

if TYPE_CHECKING:
    from vswitch.management.control import Control
    from vswitch.ports import Port
    from vswitch.protection import Protection

LIMIT: Final = Integer("N", 0, ADDRESSES_MAX)
RECOVERY: Final = Integer("SECONDS", 0, RECOVERY_MAX)
_GUARD_DISCARDS: Final = (
    DiscardReason.SHUT,
    DiscardReason.STORM,
    DiscardReason.MAC_LIMIT,
    DiscardReason.UNWANTED_BPDU,
    DiscardReason.BAD_BPDU,
    DiscardReason.OVERRUN,
)


# --- what there is ---


def _or_never(seconds: float | None) -> str:
    return "never" if seconds is None else f"{seconds:g} s"


@command("guard/showinfo", "show what holds for all ports", prints=True)
def show_info(control: Control, session: Session) -> Reply:
    """Show the settings that are not of one port."""
    protection = control.control_plane.protection
    loop, flap = protection.loop_settings, protection.flap_settings
    is_on = protection.is_looking_for_loops
    probes = f"a probe every {loop.interval:g} s" if is_on else "off"
    lines = [
        f"Loop detection: {probes}, recovery {loop.recovery:g} s",
        f"BPDU guard: recovery {_or_never(protection.bpdu_recovery)}",
        f"Flapping: {flap.moves} moves within {flap.window:g} s",
    ]
    document = {
        "loop": {"interval": loop.interval if is_on else None, "recovery": loop.recovery},
        "bpdu": {"recovery": protection.bpdu_recovery},
        "flap": {"moves": flap.moves, "window": flap.window},
    }
    return Reply(lines, document=document)


@command("guard/print", "print the guards of ports, and what they did", Optional(PORT), prints=True)
def print_guards(control: Control, session: Session, number: int | None) -> Reply:
    """Print all ports or one."""
    ports = list(control.bridge.ports) if number is None else [existing_port(control, number)]
    protection, now = control.control_plane.protection, control.now()
    return Reply(
        [line for port in ports for line in guard_lines(protection, port, now)],
        document=[{"port": port.number, **guard_document(protection, port, now)} for port in ports],
    )


def guard_lines(protection: Protection, port: Port, now: float) -> list[str]:
    """Print the guards of a port."""
    guards, storm = port.guards, protection.storm_settings(port)
    switches = {"bpdu": guards.bpdu, "root": guards.root, "topology": guards.topology, "loop": guards.loop}
    limits = {"broadcast": storm.broadcast, "multicast": storm.multicast, "unknown": storm.unknown_unicast}
    limit = port.mac_limit
    lines = [
        f"Port {port.number:04d} {' '.join(f'{name}={value:d}' for name, value in switches.items())}",
        f" storm {' '.join(f'{name}={value or 0}' for name, value in limits.items())} frames/s (0: no limit)",
    ]
    if limit is not None:
        only = ",".join(sorted(map(format_mac, limit.settings.allowed)))
        lines.append(
            f" addresses limit={limit.settings.limit} action={limit.settings.action}"
            f" recovery={_or_never(limit.settings.recovery)}" + (f" only={only}" if only else "")
        )
    if port.shut is not None:
        lines.append(f" shut by {port.shut.reason}: {port.shut.detail}; {recovery_words(port, now)}")
    lines += [f" {port.counters.discards[reason]:10d} {reason}" for reason in _discards(port)]
    return lines


def _discards(port: Port) -> list[DiscardReason]:
    return [reason for reason in _GUARD_DISCARDS if port.counters.discards[reason]]


def recovery_words(port: Port, now: float) -> str:
    """Say when a port that is shut opens."""
    if port.shut is None or port.shut.recover_at is None:
        return "opens with guard/recover"
    return f"opens in {max(0.0, port.shut.recover_at - now):.0f} s"


def guard_document(protection: Protection, port: Port, now: float) -> dict[str, Any]:
    """Describe the guards of a port; times in seconds from now."""
    storm, limit, shut = protection.storm_settings(port), port.mac_limit, port.shut
    return {
        "bpdu": port.guards.bpdu,
        "root": port.guards.root,
        "topology": port.guards.topology,
        "loop": port.guards.loop,
        "storm": {
            "broadcast": storm.broadcast,
            "multicast": storm.multicast,
            "unknown_unicast": storm.unknown_unicast,
            "discarded": {
                kind.name.lower(): 0 if port.storm is None else port.storm.discarded(kind)
                for kind in StormKind
            },
        },
        "address_limit": None
        if limit is None
        else {
            "limit": limit.settings.limit,
            "only": sorted(map(format_mac, limit.settings.allowed)),
            "action": str(limit.settings.action),
            "recovery": limit.settings.recovery,
            "discarded": limit.discarded,
        },
        "shut": None
        if shut is None
        else {
            "reason": str(shut.reason),
            "detail": shut.detail,
            "since": round(now - shut.since, 3),
            "recovers_in": None if shut.recover_at is None else round(shut.recover_at - now, 3),
        },
        "discards": {str(reason): port.counters.discards[reason] for reason in _discards(port)},
    }


# --- one port ---


def _set(control: Control, number: int, **changes: Any) -> None:  # noqa: ANN401 - fields of PortGuards
    port = existing_port(control, number)
    control.control_plane.protection.set_guards(port, replace(port.guards, **changes), control.now())


@command("guard/bpdu", "1: shut PORT when a BPDU comes in", PORT, Switch())
def set_bpdu_guard(control: Control, session: Session, number: int, is_on: bool) -> None:
    """Say whether only end stations may be behind a port."""
    _set(control, number, bpdu=is_on)


@command("guard/root", "1: the root is never behind PORT", PORT, Switch())
def set_root_guard(control: Control, session: Session, number: int, is_on: bool) -> None:
    """Say whether a switch behind a port may become the root; without spanning tree, be heard of at all."""
    _set(control, number, root=is_on)


@command("guard/topology", "1: pass no topology changes on from PORT", PORT, Switch())
def set_topology_guard(control: Control, session: Session, number: int, is_on: bool) -> None:
    """Say whether switches behind a port can make the others forget their addresses."""
    _set(control, number, topology=is_on)


@command("guard/loop", "1: look for loops through PORT", PORT, Switch())
def set_loop_guard(control: Control, session: Session, number: int, is_on: bool) -> None:
    """Say whether probes are sent on a port."""
    _set(control, number, loop=is_on)


@command(
    "guard/storm",
    "limit what PORT floods, in frames/s; 0: no limit",
    PORT,
    Integer("BC", 0, STORM_MAX),
    Integer("MC", 0, STORM_MAX),
    Integer("UNKNOWN", 0, STORM_MAX),
)
def set_storm_control(
    control: Control, session: Session, number: int, broadcast: int, multicast: int, unknown: int
) -> None:
    """Set the limits of a port: for broadcast, multicast and unknown unicast."""
    storm = StormSettings(
        broadcast=broadcast or None, multicast=multicast or None, unknown_unicast=unknown or None
    )
    _set(control, number, storm=storm)


@command("guard/stormdefault", "give PORT the limits of its kind of link", PORT)
def reset_storm_control(control: Control, session: Session, number: int) -> None:
    """Limit remote ports only, by the defaults."""
    _set(control, number, storm=None)


@command(
    "guard/maclimit",
    "let PORT have N addresses (0: any); protect, restrict, shutdown",
    PORT,
    LIMIT,
    Optional(Word("ACT")),
    Optional(RECOVERY),
)
def set_address_limit(
    control: Control, session: Session, number: int, limit: int, action: str | None, recovery: int | None
) -> None:
    """Limit the addresses behind a port; recovery 0 keeps a port shut until the operator opens it.

    Those that alone may be behind a port that is kept for somebody stay the only ones.
    """
    port = existing_port(control, number)
    wanted = action or LimitAction.RESTRICT
    if wanted not in list(LimitAction):
        raise invalid("ACT", "protect, restrict or shutdown", wanted)
    seconds = 300.0 if recovery is None else float(recovery) or None
    port.limit_addresses(AddressLimit(limit=limit, action=LimitAction(wanted), recovery=seconds))


@command("guard/recover", "open PORT, which a guard has shut", PORT)
def recover(control: Control, session: Session, number: int) -> None:
    """Let a port work again now."""
    control.control_plane.protection.recover(existing_port(control, number))


# --- all ports ---


@command(
    "guard/setloop",
    "set the interval of probes (0: none) and the pause of a port, in s",
    Integer("INTERVAL", 0, 60),
    Integer("RECOVERY", 1, RECOVERY_MAX),
)
def set_loop_detection(control: Control, session: Session, interval: int, recovery: int) -> None:
    """Change loop detection; ports that are shut for a loop are tried again."""
    settings = LoopSettings(interval=float(interval or 1), recovery=float(recovery))
    control.control_plane.protection.set_loop_detection(settings, control.now(), is_on=interval > 0)


@command("guard/setrecovery", "set how long BPDU guard shuts a port, in s; 0: for good", RECOVERY)
def set_bpdu_recovery(control: Control, session: Session, seconds: int) -> None:
    """Change the pause of BPDU guard, from the next one on."""
    control.control_plane.protection.bpdu_recovery = float(seconds) or None


@command(
    "guard/setflap",
    "report stations that move MOVES times in WINDOW s",
    Integer("MOVES", 2, 1000),
    Integer("WINDOW", 1, 3600),
)
def set_flap_detection(control: Control, session: Session, moves: int, window: int) -> None:
    """Change when a station counts as flapping."""
    settings = MacFlapSettings(moves=moves, window=float(window))
    control.control_plane.protection.set_flap_detection(settings)


MENU: Final = Menu(
    "guard",
    "GUARDS AGAINST LOOPS AND STORMS",
    (
        show_info,
        print_guards,
        set_bpdu_guard,
        set_root_guard,
        set_topology_guard,
        set_loop_guard,
        set_storm_control,
        reset_storm_control,
        set_address_limit,
        recover,
        set_loop_detection,
        set_bpdu_recovery,
        set_flap_detection,
    ),
)
