"""Joining with a token: our own key takes the place of the invitation's, and a file keeps it."""

from __future__ import annotations

import logging
import os
from hashlib import blake2s
from math import inf
from typing import TYPE_CHECKING, Final

import trio

from vport.errors import FrameError, LinkError, SettingsError
from vport.links.binding import bind_to_all
from vport.links.datagrams import Resolver, resolve
from vport.links.wireguard_socket import Happening, WireguardSocket
from vport.private_files import read_secret, state_directory, write_secret
from vport.wireguard.config_file import format_config, parse
from vport.wireguard.events import ControlReceived, SessionEstablished
from vport.wireguard.invitation import (
    Invitation,
    config_of,
    decode_confirmation,
    encode_enrolment,
)
from vport.wireguard.keys import PrivateKey
from vport.wireguard.settings import PeerSettings

if TYPE_CHECKING:
    from pathlib import Path

    from vport.wireguard.config import Config
    from vport.wireguard.keys import PublicKey

logger = logging.getLogger(__name__)

JOIN_TIME: Final = 15.0  # seconds after which a switch that says nothing is given up
_REPEAT: Final = 1.0  # seconds between two requests: the first may be lost
_ADDRESS_TIME: Final = 6.0  # seconds that one address of the switch is given before the next one


async def join(invitation: Invitation, *, resolver: Resolver = resolve) -> tuple[Path, Config]:
    """Have a key of our own entered, unless that was done before; give the file that holds it.

    Cancelled or refused, it leaves the key, which the next attempt with the same token uses again.

    Raises:
        LinkError: the switch does not answer, or does not take the token; the key cannot be kept.
        SettingsError: the file of an earlier attempt is malformed.
    """
    mark = blake2s(invitation.key.public.raw, digest_size=4).hexdigest()
    done = state_directory() / f"joined-{mark}.conf"
    if done.exists():
        return done, _read(done)
    pending = done.with_suffix(".pending")
    if not pending.exists():
        key = PrivateKey.generate(os.urandom)
        write_secret(pending, format_config(config_of(invitation, key)))
    config = _read(pending)
    await _enrol(invitation, config.private_key.public, resolver)
    try:
        os.rename(pending, done)
    except OSError as error:
        raise LinkError(f"cannot rename {pending}: {error.strerror}") from error
    return done, config


def _read(path: Path) -> Config:
    try:
        return parse(read_secret(path, "WireGuard configuration"))
    except SettingsError as error:
        raise SettingsError(f"{path}: {error}; remove it and ask for a new invitation") from None


async def _enrol(invitation: Invitation, key: PublicKey, resolver: Resolver) -> None:
    endpoint = invitation.endpoint
    try:
        found = await resolver(endpoint.host, endpoint.port)
    except OSError as error:
        raise LinkError(f"cannot find the address of {endpoint.host}: {error.strerror or error}") from error
    caller = _Caller(invitation, key)
    try:
        with trio.move_on_after(JOIN_TIME):
            async with trio.open_nursery() as nursery:
                await nursery.start(caller.socket.serve)
                await caller.call(found)
                nursery.cancel_scope.cancel()
    finally:
        caller.socket.close()
    if not caller.confirmed.is_set():
        raise LinkError(f"{endpoint} does not take this token: it was used, has run out, or cannot get there")


class _Caller:
    """Calls with the invitation's key and asks until the switch confirms."""

    def __init__(self, invitation: Invitation, key: PublicKey) -> None:
        self.socket = WireguardSocket(bind_to_all("vport join", 0), invitation.key, self)
        self.confirmed = trio.Event()
        self._established = trio.Event()
        self._key = key
        self._peer = self.socket.device.add_peer(
            PeerSettings(public_key=invitation.server_key, preshared_key=invitation.preshared_key),
            self.socket.now(),
        )

    async def call(self, found: list[tuple[int, tuple[object, ...]]]) -> None:
        """Try each address in turn until there is a session; then ask until there is an answer."""
        while not self._established.is_set():
            for family, address in found:
                self.socket.device.locate_peer(
                    self._peer, self.socket.endpoint_of(family, address), self.socket.now()
                )
                self.socket.call(self._peer)
                with trio.move_on_after(_ADDRESS_TIME):
                    await self._established.wait()
                    break
        while not self.confirmed.is_set():
            self.socket.send_control(self._peer, encode_enrolment(self._key))
            with trio.move_on_after(_REPEAT):
                await self.confirmed.wait()

    def happened(self, event: Happening, now: float) -> None:
        """Note the session, and the answer."""
        match event:
            case SessionEstablished():
                self._established.set()
            case ControlReceived():
                try:
                    if decode_confirmation(event.body) == self._key:
                        self.confirmed.set()
                except FrameError:
                    logger.debug("a control record that is no answer")
            case _:
                pass

    def handle_timers(self, now: float) -> float:
        """Nothing but the device's timers is ours."""
        return inf
