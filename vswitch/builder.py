"""Makes a running switch into the one that is wanted, change by change: at its start, and when told to."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING, assert_never

from vport.errors import CommandError, LinkError, RefusedError, SettingsError
from vport.locator import WireguardLocator
from vswitch.changes import (
    AdmitPeer,
    Attach,
    CloseListener,
    Impair,
    Listen,
    LoadPlugin,
    OuterChange,
    RevokePeer,
    UnloadPlugin,
    Unplug,
)
from vswitch.difference import KeptPort, OpenListener
from vswitch.state import Opened, capture_peer, change_core

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vport.links.base import Listener
    from vport.links.wireguard_roll import Roll
    from vport.locator import Locator
    from vport.wireguard.config import PeerSection
    from vswitch.changes import Change
    from vswitch.control_plane import ControlPlane
    from vswitch.fabric import Fabric
    from vswitch.impaired_ports import ImpairedPorts
    from vswitch.plugboard import Plugboard
    from vswitch.plugins.shelf import PluginShelf

logger = logging.getLogger(__name__)

RELOADED = "the configuration no longer names it"


class Builder:
    """Carries out changes on a switch, and sees how it is.

    Args:
        fabric: joins the links through the core.
        plane: spanning trees and guards.
        plugboard: opens links and listeners.
        impairments: the faults of ports.
        plugins: what was added to the switch.
    """

    def __init__(
        self,
        fabric: Fabric,
        plane: ControlPlane,
        plugboard: Plugboard,
        impairments: ImpairedPorts,
        plugins: PluginShelf,
    ) -> None:
        self._fabric = fabric
        self._bridge = fabric.bridge
        self._plane = plane
        self._plugboard = plugboard
        self._impairments = impairments
        self._plugins = plugins

    # --- how it is ---

    @property
    def opened(self) -> Opened:
        """What is around the core."""
        return Opened(
            listening=self._plugboard.listening,
            attached=self._plugboard.attached,
            impaired=self._impairments.settings,
            plugins=tuple(self._plugins.sources),
        )

    @property
    def listeners(self) -> tuple[OpenListener, ...]:
        """The listeners with what is kept for their peers."""
        pairs = zip(self._plugboard.listening, self._plugboard.open_listeners, strict=True)
        return tuple(self._describe(place, listener) for (place, _), listener in pairs)

    def _describe(self, place: Locator, listener: Listener) -> OpenListener:
        if not isinstance(place, WireguardLocator):
            return OpenListener(locator=place)
        from vport.links.wireguard_listener import WireguardListener  # most switches do without its ciphers
        from vport.links.wireguard_member import Origin

        assert isinstance(listener, WireguardListener)
        ports = self._bridge.ports
        kept = [(one.section.public_key, ports.get(one.profile.number or 0)) for one in listener.roll]
        return OpenListener(
            locator=place,
            peers=tuple(
                self._as_it_is(member.section, member.profile.number)
                for member in listener.roll
                if member.origin is Origin.CONFIGURATION
            ),
            kept={
                key: KeptPort(port.number, frozenset({port.pvid, *port.tagged}))
                for key, port in kept
                if port is not None
            },
        )

    def _as_it_is(self, section: PeerSection, port: int | None) -> PeerSection:
        """Give what was said of a peer, with the VLANs that its port is in by now."""
        found = capture_peer(replace(section, port=port), self._bridge)
        if (found.vlan, set(found.tagged_vlans)) == (section.vlan, set(section.tagged_vlans)):
            return section
        return replace(found, port=section.port)

    # --- changes ---

    async def carry_out(self, change: Change) -> None:
        """Carry out a change.

        Raises:
            SettingsError, LinkError, RefusedError: it cannot be done. A link or listener was not opened.
        """
        if isinstance(change, OuterChange):
            await self._change_outside(change)
        else:
            change_core(change, self._bridge, self._plane, self._fabric.clock())
            self._fabric.publish_events()

    async def _change_outside(self, change: OuterChange) -> None:
        match change:
            case Attach(locator, port):
                await self._plugboard.attach(locator, port)
            case Unplug(locator, port):
                endpoint = self._plugboard.find(locator, port)
                if endpoint is not None:
                    self._plugboard.eject(endpoint, RELOADED)
            case Listen(locator, peers):
                listener = await self._plugboard.listen(locator, peers, is_vital=True)
                logger.info("listening on %s", listener.description)
            case CloseListener(locator):
                number = self._plugboard.find_listener(locator)
                if number is not None:
                    await self._plugboard.close_listener(number)
            case RevokePeer(locator, peer):
                await self._roll(locator).withdraw(peer.public_key)
            case AdmitPeer(locator, peer):
                await self._roll(locator).configure(
                    peer, lambda member: capture_peer(member.as_it_is(), self._bridge)
                )
            case LoadPlugin(name):
                await self._load(name)
            case UnloadPlugin(name):
                loaded = self._plugins.sources.get(name)
                if loaded is not None:
                    self._plugins.unload(loaded)
            case Impair(number, settings):
                place = self._bridge.ports.get(number)
                assert place is not None
                self._impairments.configure(place, settings)
            case _:
                assert_never(change)

    def _roll(self, locator: Locator) -> Roll:
        from vport.links.wireguard_listener import WireguardListener

        listener = self._plugboard.listener_on(locator)
        if not isinstance(listener, WireguardListener):  # it has broken since
            raise LinkError(f"nobody listens on {locator} any more")
        return listener.roll

    async def _load(self, name: str) -> None:
        try:
            await self._plugins.load(name)
        except CommandError as error:
            raise SettingsError(error.detail) from None

    async def try_all(self, changes: Sequence[Change]) -> int:
        """Carry out what can be, log what is done and why the rest cannot be; give how many failed."""
        failed = 0
        for change in changes:
            try:
                await self.carry_out(change)
            except (SettingsError, LinkError, RefusedError) as error:
                failed += 1
                logger.error("%s: %s", change, error)  # noqa: TRY400 - the operator's mistake, not a bug
            else:
                logger.info("changed: %s", change)
        return failed
