"""The plugins of a running switch: loaded, asked, and taken out when they fail.

Whatever comes out of a plugin's code ends here. A hook that raises is taken as if it had let the frame
pass; a command that raises is an error for the session that gave it; either way the plugin is unloaded.
"""

from __future__ import annotations

import errno
import logging
import time
from collections.abc import Awaitable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import trio

from vport.errors import CommandError, FrameError, LinkError, RefusedError, SettingsError
from vport.offload import plain
from vport.shell.command import Reply
from vport.shell.message import Message
from vport.train import SLICES, Train
from vswitch.management.control import PluginInfo
from vswitch.plugins.api import Plugin
from vswitch.plugins.loader import find_plugin, source_of
from vswitch.ports import DiscardReason

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from vport.shell.command import Catalog, Command, Menu
    from vport.shell.message import Category
    from vport.shell.server import ManagementServer
    from vswitch.bridge import Bridge, Egress
    from vswitch.events import Event
    from vswitch.fabric import Fabric
    from vswitch.ports import Port

    Hook = Callable[[Port, Train], Train | None]

logger = logging.getLogger(__name__)

TAG_MIN: Final = 0o100  # below are the switch's own
TAG_MAX: Final = 0o777


class PluginShelf:
    """Loads and unloads plugins, and stands between them and the frames.

    Args:
        fabric: carries the frames; its ``relay`` is replaced while a plugin wants to see them.
        catalog: where the plugins' commands go.
        server: sends the plugins' messages.
    """

    def __init__(self, fabric: Fabric, catalog: Catalog, server: ManagementServer) -> None:
        self._fabric = fabric
        self._catalog = catalog
        self._server = server
        self._plugins: dict[str, _Loaded] = {}
        self._ingress: tuple[tuple[_Loaded, Hook], ...] = ()
        self._egress: tuple[tuple[_Loaded, Hook], ...] = ()

    @property
    def loaded(self) -> list[PluginInfo]:
        """The plugins, in the order in which they were loaded."""
        return [PluginInfo(name, held.plugin.help) for name, held in self._plugins.items()]

    @property
    def sources(self) -> dict[str, str]:
        """What the plugins were loaded from, a name or an absolute path, to the names that they have."""
        return {held.source: name for name, held in self._plugins.items() if held.source is not None}

    @property
    def categories(self) -> list[Category]:
        """The messages that the plugins send."""
        return [category for held in self._plugins.values() for category in held.categories]

    # --- coming and going ---

    async def load(self, name: str) -> PluginInfo:
        """Load a plugin by its name or its file.

        Raises:
            CommandError: ENOENT, there is none; EINVAL, it is no plugin or cannot be started;
                EEXIST, it is loaded.
        """
        source = source_of(name)
        return self.start(await trio.to_thread.run_sync(find_plugin, source), source)

    def start(self, kind: type[Plugin], source: str | None = None) -> PluginInfo:
        """Make a plugin of this kind and load it; ``source`` would load it again. Errors as for ``load``."""
        name = kind.name
        if name in self._plugins:
            raise CommandError(errno.EEXIST, f"plugin {name} is loaded")
        try:
            held = _Loaded(kind(_Host(name, self._fabric, self._server)), source)
        except Exception as error:
            raise CommandError(errno.EINVAL, f"plugin {name} cannot start: {_told(error)}") from error
        self._check_categories(held)
        self._add_menus(held)
        self._plugins[name] = held
        self._update_hooks()
        logger.info("plugin %s is loaded", name)
        return PluginInfo(name, kind.help)

    def _check_categories(self, held: _Loaded) -> None:
        for category in held.categories:
            if not TAG_MIN <= category.tag <= TAG_MAX:
                raise CommandError(
                    errno.EINVAL,
                    f"tag {category.tag:#o} of {category.path} is not from {TAG_MIN:#o} to {TAG_MAX:#o}",
                )
            if not category.path.startswith(f"{held.plugin.name}/"):
                raise CommandError(
                    errno.EINVAL, f"category {category.path} does not start with {held.plugin.name}/"
                )

    def _add_menus(self, held: _Loaded) -> None:
        """Add the plugin's commands, all or none."""
        added: list[Menu] = []
        try:
            for menu in held.plugin.menus:
                guarded = replace(menu, commands=tuple(self._guarded(held, each) for each in menu.commands))
                self._catalog.add(guarded)
                added.append(guarded)
        except SettingsError as error:
            for menu in added:
                self._catalog.remove(menu)
            raise CommandError(errno.EINVAL, str(error)) from None
        held.menus = tuple(added)

    def unload(self, name: str) -> bool:
        """Unload a plugin; tell whether it was loaded."""
        held = self._plugins.pop(name, None)
        if held is None:
            return False
        for menu in held.menus:
            self._catalog.remove(menu)
        for category in held.categories:
            self._server.drop(category)
        self._update_hooks()
        try:
            held.plugin.close()
        except Exception as error:  # noqa: BLE001 - not our code: whatever it raises stays here
            logger.warning("plugin %s did not close: %s", name, _told(error))
        logger.info("plugin %s is unloaded", name)
        return True

    def close(self) -> None:
        """Unload all plugins: the switch ends."""
        for name in reversed(list(self._plugins)):
            self.unload(name)

    def _update_hooks(self) -> None:
        held = self._plugins.values()
        self._ingress = tuple((one, one.plugin.ingress) for one in held if one.overrides("ingress"))
        self._egress = tuple((one, one.plugin.egress) for one in held if one.overrides("egress"))
        wanted = self._ingress or self._egress
        self._fabric.relay = self._relay if wanted else self._fabric.bridge.receive

    def _fail(self, held: _Loaded, error: Exception) -> None:
        """Unload a plugin that raised, unless that was done already."""
        name = held.plugin.name
        if self._plugins.get(name) is held:
            logger.error("plugin %s failed and is unloaded: %s", name, _told(error), exc_info=error)
            self.unload(name)

    # --- frames ---

    def _relay(self, port: Port, train: Train, now: float) -> Egress:
        """Relay a train as the bridge does, with the plugins before and behind it."""
        seen = self._through(self._ingress, port, train)
        if seen is None:
            port.counters.frames_in += train.count
            port.counters.bytes_in += train.wire_bytes
            port.discard(DiscardReason.PLUGIN, train)
            return []
        leaving = self._fabric.bridge.receive(port, seen, now)
        if not self._egress:
            return leaving
        out: Egress = []
        for other, one in leaving:
            passed = self._through(self._egress, other, one)
            if passed is None:
                other.discard(DiscardReason.PLUGIN, one)
            else:
                out.append((other, passed))
        return out

    def _through(self, hooks: tuple[tuple[_Loaded, Hook], ...], port: Port, train: Train) -> Train | None:
        """Show a train to the plugins in turn; give what is left of it, ``train`` itself when all of it."""
        if train.offload is SLICES:
            try:
                train = plain(train)
            except FrameError:
                port.discard(DiscardReason.MALFORMED, train)
                return None
        lent = _read_only(train)
        for held, hook in hooks:
            try:
                result = hook(port, lent)
                if result is lent:
                    continue
                if result is None:
                    return None
                if not isinstance(result, Train):
                    raise TypeError(f"a hook gave {type(result).__name__} in place of a train")  # noqa: TRY301
            except Exception as error:  # noqa: BLE001 - not our code: whatever it raises stays here
                self._fail(held, error)
            else:
                train = result
                lent = _read_only(train)
        return train

    # --- events and commands ---

    def publish(self, events: Iterable[Event]) -> None:
        """Tell the plugins that want to know what happened."""
        for held in list(self._plugins.values()):
            if held.overrides("event"):
                self._tell(held, events)

    def _tell(self, held: _Loaded, events: Iterable[Event]) -> None:
        try:
            for event in events:
                held.plugin.event(event)
        except Exception as error:  # noqa: BLE001 - not our code: whatever it raises stays here
            self._fail(held, error)

    def _guarded(self, held: _Loaded, command: Command) -> Command:
        """Wrap a plugin's command, so that what it raises is an error of the session alone."""

        async def run(*arguments: Any) -> Reply | Iterable[str] | None:  # noqa: ANN401 - as the command declares
            try:
                result = command.function(*arguments)
                if isinstance(result, Awaitable):
                    result = await result
                return _made(result)
            except (CommandError, SettingsError, LinkError, RefusedError):
                raise
            except Exception as error:
                self._fail(held, error)
                name = held.plugin.name
                raise CommandError(
                    errno.EIO, f"plugin {name} failed and was unloaded: {_told(error)}"
                ) from error

        return replace(command, function=run)


class _Loaded:
    """A plugin that is loaded, and what was taken from it."""

    def __init__(self, plugin: Plugin, source: str | None) -> None:
        self.plugin = plugin
        self.source = source
        self.categories = tuple(plugin.categories)
        self.menus: tuple[Menu, ...] = ()

    def overrides(self, hook: str) -> bool:
        """Whether the plugin has this hook of its own."""
        return getattr(type(self.plugin), hook) is not getattr(Plugin, hook)


class _Host:
    """The switch, as one plugin sees it (``api.PluginHost``)."""

    def __init__(self, name: str, fabric: Fabric, server: ManagementServer) -> None:
        self._name = name
        self._fabric = fabric
        self._server = server

    @property
    def bridge(self) -> Bridge:
        return self._fabric.bridge

    def now(self) -> float:
        return self._fabric.clock()

    def wall_time(self) -> float:
        return time.time()

    def wants(self, category: Category) -> bool:
        return self._server.wants(category)

    def publish(self, category: Category, text: str) -> None:
        self._server.send(Message(category, text))

    def log(self, text: str) -> None:
        logger.info("%s: %s", self._name, text)


def _read_only(train: Train) -> Train:
    """Lend a train's bytes without letting them be changed."""
    return Train(memoryview(train.data).toreadonly(), train.frame_size, train.offload)


def _made(result: Reply | Iterable[str] | None) -> Reply | Iterable[str] | None:
    """Take lines and documents out of a plugin's generators while we can catch what they raise."""
    if result is None or isinstance(result, list):
        return result
    if not isinstance(result, Reply):
        return list(result)
    document = list(result.document) if hasattr(result.document, "__next__") else result.document  # type: ignore[call-overload]
    return replace(result, lines=None if result.lines is None else list(result.lines), document=document)


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
