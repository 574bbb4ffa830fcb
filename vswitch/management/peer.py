"""The peer menu: who may join over WireGuard, how they are, and how further ones come in."""

from __future__ import annotations

import errno
from collections import Counter
from typing import TYPE_CHECKING, Final

from vport.errors import CommandError, LinkError, RefusedError
from vport.shell.arguments import Optional, Text, Word, quoted
from vport.shell.command import Menu, Reply, Session, command
from vswitch.management.peer_config import show_own, show_stock
from vswitch.management.peer_options import OPTIONS_HELP, read_options, split_key

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vport.links.wireguard_listener import WireguardListener
    from vport.links.wireguard_member import Member
    from vport.wireguard.config import Config, PeerSection
    from vswitch.management.control import Control

_UNITS: Final = ("B", "KiB", "MiB", "GiB", "TiB")
_FAILED: Final = (LinkError, RefusedError)


def _listeners(control: Control) -> list[WireguardListener]:
    """Find the listeners that have peers."""
    from vport.links.wireguard_listener import WireguardListener

    return [one for one in control.plugboard.open_listeners if isinstance(one, WireguardListener)]


def _find(control: Control, name: str) -> tuple[WireguardListener, Member]:
    found = [
        (listener, member)
        for listener in _listeners(control)
        if (member := listener.roll.find(name)) is not None
    ]
    if not found:
        raise CommandError(errno.ENOENT, f"there is no peer {quoted(name)}")
    if len(found) > 1:
        raise CommandError(
            errno.EEXIST, f"{len(found)} listeners have a peer {quoted(name)}: give its public key"
        )
    return found[0]


def _first(control: Control, name: str) -> WireguardListener:
    """Give the listener that further peers go to, having checked that the name is free."""
    listeners = _listeners(control)
    if not listeners:
        raise CommandError(
            errno.ENXIO, "this switch has no WireGuard listener; make one with listen/add wg://:51820"
        )
    if any(listener.roll.find(name) is not None for listener in listeners):
        raise CommandError(errno.EEXIST, f"there is a peer {quoted(name)}; peer/remove it first")
    return listeners[0]


# --- printing ---


def _size(count: int) -> str:
    size = float(count)
    for unit in _UNITS[:-1]:
        if size < 1024:
            return f"{size:.2f} {unit}" if unit != "B" else f"{count} B"
        size /= 1024
    return f"{size:.2f} {_UNITS[-1]}"


def _ago(seconds: float) -> str:
    rest = int(seconds)
    parts: list[str] = []
    for word, size in (("day", 86400), ("hour", 3600), ("minute", 60), ("second", 1)):
        count, rest = divmod(rest, size)
        if count:
            parts.append(f"{count} {word}{'s' if count > 1 else ''}")
    return ", ".join(parts[:2]) + " ago" if parts else "now"


def _describe(listener: WireguardListener, member: Member) -> Iterator[str]:
    """Print a peer in the words and the order of ``wg show``, with what is ours behind."""
    peer, section = member.peer, member.section
    yield f"peer: {section.public_key.encode()}"
    if section.name:
        yield f"  name: {section.name}"
    if section.preshared_key is not None:
        yield "  preshared key: (hidden)"
    if peer.endpoint is not None:
        yield f"  endpoint: {peer.endpoint}"
    if section.allowed_ips:
        yield f"  allowed ips: {', '.join(map(str, section.allowed_ips))}"
    if peer.last_handshake_at is not None:
        yield f"  latest handshake: {_ago(listener.socket.now() - peer.last_handshake_at)}"
    if peer.sent_bytes or peer.received_bytes:
        yield f"  transfer: {_size(peer.received_bytes)} received, {_size(peer.sent_bytes)} sent"
    if section.persistent_keepalive:
        yield f"  persistent keepalive: every {section.persistent_keepalive} seconds"
    yield from _describe_place(member)
    discards = _discards(listener, member)
    if discards:
        yield "  discards: " + ", ".join(f"{count} {reason}" for reason, count in discards.most_common())


def _describe_place(member: Member) -> Iterator[str]:
    section = member.section
    if member.is_invitation:
        yield "  invitation: not used yet" if member.enrolled is None else "  invitation: being used"
        return
    kind = f"  mode: {member.peer.settings.mode}, port {member.profile.number}, VLAN {section.vlan}"
    if section.tagged_vlans:
        kind += f", tagged {','.join(map(str, section.tagged_vlans))}"
    yield kind + (", present" if member.link.attachment is not None else ", absent")


@command("peer/print", "print WireGuard peers, like wg show", Optional(Word("NAME")), prints=True)
def print_peers(control: Control, session: Session, name: str | None) -> Reply:
    """Print the listeners and their peers, or one peer."""
    if name is not None:
        found = _find(control, name)
        return Reply(_describe(*found), document=[_document(*found)])
    listeners = _listeners(control)
    document = [_document(one, member) for one in listeners for member in one.roll]
    return Reply(_print_all(listeners), document=document)


def _print_all(listeners: list[WireguardListener]) -> list[str]:
    lines: list[str] = []
    for listener in listeners:
        lines += [f"interface: {listener.description.partition(' ')[0]}"]
        lines += [f"  public key: {listener.public_key.encode()}", f"  listening port: {listener.udp_port}"]
        discards = listener.discards
        if discards:
            lines += ["  discards: " + ", ".join(f"{n} {reason}" for reason, n in discards.most_common())]
        for member in listener.roll:
            lines += ["", *_describe(listener, member)]
    return lines


def _document(listener: WireguardListener, member: Member) -> dict[str, object]:
    peer, section = member.peer, member.section
    handshake = peer.last_handshake_at
    return {
        "listener": listener.description.partition(" ")[0],
        "peer": section.public_key.encode(),
        "name": section.name,
        "mode": str(peer.settings.mode),
        "port": member.profile.number,
        "untagged_vlan": section.vlan,
        "tagged_vlans": list(section.tagged_vlans),
        "present": member.link.attachment is not None,
        "invitation": member.is_invitation,
        "endpoint": None if peer.endpoint is None else str(peer.endpoint),
        "allowed_ips": list(map(str, section.allowed_ips)),
        "handshake_age": None if handshake is None else round(listener.socket.now() - handshake, 3),
        "bytes_in": peer.received_bytes,
        "bytes_out": peer.sent_bytes,
        "discards": {str(reason): count for reason, count in _discards(listener, member).items()},
    }


def _discards(listener: WireguardListener, member: Member) -> Counter[str]:
    return Counter[str](member.peer.discards) + listener.discards_of(member)


# --- changing ---


@command(
    "peer/add",
    f"admit a peer by its key, or make keys and print its file; options: {OPTIONS_HELP}",
    Word("NAME"),
    Optional(Word("PUBKEY")),
    Optional(Text("OPTIONS")),
    prints=True,
)
async def add(control: Control, session: Session, name: str, key: str | None, rest: str | None) -> Reply:
    """Admit a peer. Its port is its own from now on.

    Either it made its own keys, or we make them: then what it needs is printed, its private key included,
    which is kept nowhere else.
    """
    listener = _first(control, name)
    key, options = split_key(key, rest)
    section = read_options(name, key, options)
    try:
        if key is None:
            return _show(name, await listener.invitations.make_keys(section))
        await listener.roll.add(section)
    except _FAILED as error:
        raise CommandError(errno.EIO, str(error)) from None
    return Reply(document={"name": name, "token": None, "configuration": None})


def _show(name: str, made: tuple[PeerSection, Config]) -> Reply:
    section, config = made
    return show_stock(name, config) if section.carries == "ip" else show_own(name, config)


@command("peer/remove", "revoke a peer, at once", Word("NAME"))
async def remove(control: Control, session: Session, name: str) -> Reply:
    """Revoke a peer by its name or key; a session that it has ends."""
    from vport.links.wireguard_member import Origin

    listener, member = _find(control, name)
    try:
        await listener.roll.remove(member)
    except LinkError as error:
        raise CommandError(errno.EIO, f"it is out, but may come back with a restart: {error}") from None
    if member.origin is Origin.CONFIGURATION:
        return Reply(detail="out, until the configuration is read again: take it out there, or config/save")
    return Reply()


@command(
    "peer/invite",
    "invite a peer: prints the one command for a Linux machine; with ip a file and QR code for a phone",
    Word("NAME"),
    Optional(Text("OPTIONS")),
    prints=True,
)
async def invite(control: Control, session: Session, name: str, rest: str | None) -> Reply:
    """Invite a peer."""
    listener = _first(control, name)
    section = read_options(name, None, rest or "")
    try:
        if section.carries == "ip":
            return _show(name, await listener.invitations.make_keys(section))
        invitation = await listener.invitations.invite(section)
    except _FAILED as error:
        raise CommandError(errno.EIO, str(error)) from None
    token = invitation.encode()
    lines = [
        f"On the machine that is to join as {name}, within 24 hours:",
        "",
        f"sudo vport join {token}",
        "",
        "The token works once: the machine makes a key of its own, which never leaves it.",
    ]
    return Reply(lines, document={"name": name, "token": token, "configuration": None})


MENU: Final = Menu("peer", "WIREGUARD PEER MENU", (print_peers, add, remove, invite))
