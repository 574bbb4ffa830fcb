"""One user-mode network of libslirp, without waiting.

Ethernet frames of stations go in with ``input``, frames for them come out of ``take_frames``, and sockets
of this process carry their traffic to the outside. The library does no waiting: ``wanted`` says which
descriptors it wants to be told about and how long it can wait, ``ready`` tells it. Clock, waiting and
everything that happens over time are the caller's (``vport.links.slirp``).
"""

from __future__ import annotations

import logging
import os
import socket
from collections import Counter
from ipaddress import IPv4Address
from typing import TYPE_CHECKING, Any, Final

from vport.errors import LinkError, SettingsError
from vport.forwards import Transport
from vport.libslirp import CONFIG_VERSION, HOSTFWD_UDP, HOSTFWD_V6ONLY, NEVER, load
from vport.slirp_segments import STACK_MTU

if TYPE_CHECKING:
    from collections.abc import Callable

    from vport.ethernet import Buffer
    from vport.forwards import HostEnd, HostForward
    from vport.locator import SlirpLocator
    from vport.readers import IpAddress

logger = logging.getLogger(__name__)

MAX_QUEUED_BYTES: Final = 1 << 20  # frames for stations that nobody has taken yet


class Stack:
    """One user-mode network. Close it, or its sockets stay open.

    Attributes:
        discards: frames for stations that were thrown away, and complaints about stations, by reason.

    Raises:
        LinkError: the library is missing, or refuses the settings.
    """

    def __init__(
        self,
        settings: SlirpLocator,
        clock: Callable[[], float],
        forget: Callable[[int], None] = lambda _: None,
    ) -> None:
        """``forget`` is told of each descriptor that is opened or about to be closed."""
        self._ffi, self._library = load()
        self.discards: Counter[str] = Counter()
        self._open: set[int] = set()
        self._clock = clock
        self._forget = forget
        self._error: BaseException | None = None
        self._frames = bytearray()
        self._sizes: list[int] = []
        self._timers: dict[int, tuple[int, Any, float]] = {}
        self._timer_count = 0
        self._wanted: dict[int, int] = {}
        self._ready: dict[int, int] = {}
        self._kept: list[Any] = []  # what C points at
        self._callbacks = self._make_callbacks()
        self._add_poll = self._callback("SlirpAddPollCb", self._on_add_poll)
        self._get_events = self._callback("SlirpGetREventsCb", self._on_get_events)
        config = self._configure(settings)
        self._slirp = self._library.slirp_new(config, self._callbacks, self._ffi.NULL)
        if self._slirp == self._ffi.NULL:
            raise LinkError(f"libslirp does not take the settings of {settings}")
        # Its idea of the time is only set here; a flow begun before would at once be 240 seconds old.
        self.ready({})
        self._default_guest = settings.dhcp_start or settings.router.network.network_address + 15

    # --- settings in C ---

    def _configure(self, settings: SlirpLocator) -> Any:
        network = settings.router.network
        config = self._ffi.new("SlirpConfig *")
        config.version = CONFIG_VERSION
        config.restricted = settings.restrict
        config.in_enabled = True
        config.vnetwork.s_addr = _in_addr(network.network_address)
        config.vnetmask.s_addr = _in_addr(network.netmask)
        config.vhost.s_addr = _in_addr(settings.router.ip)
        config.vdhcp_start.s_addr = _in_addr(settings.dhcp_start or IPv4Address(0))
        config.disable_dhcp = settings.dhcp_start is None
        config.vnameserver.s_addr = _in_addr(settings.dns_address or IPv4Address(0))
        config.disable_dns = settings.dns_address is None
        config.if_mtu = config.if_mru = STACK_MTU
        config.disable_host_loopback = not settings.loopback
        config.vhostname = self._text(settings.hostname)
        config.vdomainname = self._text(settings.domain)
        config.tftp_path = self._text(settings.tftp)
        config.bootfile = self._text(settings.bootfile)
        if settings.search:
            names = [self._text(name) for name in settings.search]
            config.vdnssearch = self._keep(self._ffi.new("const char *[]", [*names, self._ffi.NULL]))
        prefix = settings.ipv6_prefix
        if prefix is not None:
            config.in6_enabled = True
            config.vprefix_len = prefix.prefixlen
            config.vprefix_addr6.s6_addr = list(prefix.network_address.packed)
            config.vhost6.s6_addr = list((prefix.network_address + 2).packed)
            config.vnameserver6.s6_addr = list((prefix.network_address + 3).packed)
        return self._keep(config)

    def _text(self, text: str | None) -> Any:
        return self._ffi.NULL if text is None else self._keep(self._ffi.new("char[]", text.encode()))

    def _keep(self, pointer: Any) -> Any:
        self._kept.append(pointer)
        return pointer

    def _make_callbacks(self) -> Any:
        callbacks = self._keep(self._ffi.new("SlirpCb *"))
        for name, function in {
            "send_packet": self._on_send_packet,
            "guest_error": self._on_guest_error,
            "clock_get_ns": self._on_clock,
            "timer_free": self._on_timer_free,
            "timer_mod": self._on_timer_mod,
            "register_poll_fd": self._on_register,
            "unregister_poll_fd": self._on_unregister,
            "notify": self._on_notify,
            "init_completed": self._on_init_completed,
            "timer_new_opaque": self._on_timer_new,
        }.items():
            kind = self._ffi.typeof(getattr(callbacks, name))
            setattr(callbacks, name, self._callback(kind, function))
        return callbacks

    def _callback(self, kind: Any, function: Any) -> Any:
        """Make a C function of ``function``. What it raises is raised again once the C call is over."""
        return self._keep(self._ffi.callback(kind, function, onerror=self._on_exception))

    # --- what libslirp calls ---

    def _on_exception(self, kind: object, error: BaseException, traceback: object) -> None:
        if self._error is None:
            self._error = error

    def _on_send_packet(self, data: Any, size: int, _: Any) -> int:
        if len(self._frames) + size > MAX_QUEUED_BYTES:
            self.discards["queue full"] += 1
        else:
            self._frames += self._ffi.buffer(data, size)
            self._sizes.append(size)
        return size

    def _on_guest_error(self, message: Any, _: Any) -> None:
        self.discards["refused by libslirp"] += 1
        logger.debug("libslirp: %s", self._ffi.string(message).decode(errors="replace"))

    def _on_clock(self, _: Any) -> int:
        return int(self._clock() * 1e9)

    def _on_timer_new(self, kind: int, argument: Any, _: Any) -> Any:
        self._timer_count += 1
        self._timers[self._timer_count] = (kind, argument, float("inf"))
        return self._ffi.cast("void *", self._timer_count)

    def _on_timer_free(self, timer: Any, _: Any) -> None:
        self._timers.pop(self._number(timer), None)

    def _on_timer_mod(self, timer: Any, milliseconds: int, _: Any) -> None:
        kind, argument, _deadline = self._timers[self._number(timer)]
        self._timers[self._number(timer)] = (kind, argument, milliseconds / 1000)

    def _number(self, timer: Any) -> int:
        return int(self._ffi.cast("uintptr_t", timer))

    def _on_register(self, descriptor: int, _: Any) -> None:
        self._open.add(descriptor)
        self._forget(descriptor)

    def _on_unregister(self, descriptor: int, _: Any) -> None:
        self._open.discard(descriptor)
        self._forget(descriptor)

    def _on_notify(self, _: Any) -> None:
        """Nothing to do: whoever gives us frames or events asks again what is wanted."""

    def _on_init_completed(self, slirp: Any, _: Any) -> None:
        """Nothing to do: ``slirp_new`` returns the same."""

    def _on_add_poll(self, descriptor: int, events: int, _: Any) -> int:
        self._wanted[descriptor] = events
        return descriptor

    def _on_get_events(self, descriptor: int, _: Any) -> int:
        return self._ready.get(descriptor, 0)

    def _raise_error(self) -> None:
        """Raise what a callback raised: a bug, never the network's doing."""
        if self._error is not None:
            error, self._error = self._error, None
            raise error

    # --- frames ---

    def input(self, data: Buffer, frame_size: int) -> None:
        """Take frames of stations: back to back, ``frame_size`` bytes each but the last."""
        start = self._ffi.from_buffer("uint8_t[]", data)
        total = len(data)
        for offset in range(0, total, frame_size):
            self._library.slirp_input(self._slirp, start + offset, min(frame_size, total - offset))
        if self._error is not None:
            self._raise_error()

    @property
    def sockets(self) -> int:
        """How many flows of stations have a socket of their own."""
        return len(self._open)

    @property
    def has_frames(self) -> bool:
        """Whether frames for stations are waiting."""
        return bool(self._sizes)

    def take_frames(self) -> tuple[bytearray, list[int]]:
        """Give the frames for stations, back to back, and their sizes."""
        frames, sizes = self._frames, self._sizes
        self._frames, self._sizes = bytearray(), []
        return frames, sizes

    # --- descriptors and time ---

    def wanted(self) -> tuple[dict[int, int], float]:
        """Give the descriptors to watch, with libslirp's events, and when to call ``ready`` at the latest.

        The instant is on the clock; infinity for never.
        """
        timeout = self._ffi.new("uint32_t *", NEVER)
        self._wanted = {}
        self._library.slirp_pollfds_fill(self._slirp, timeout, self._add_poll, self._ffi.NULL)
        self._raise_error()
        at = min((deadline for _, _, deadline in self._timers.values()), default=float("inf"))
        return self._wanted, min(
            at, self._clock() + timeout[0] / 1000 if timeout[0] != NEVER else float("inf")
        )

    def ready(self, events: dict[int, int]) -> None:
        """Tell what has become of the descriptors last ``wanted``, and do what is due by now."""
        self._ready = events
        self._library.slirp_pollfds_poll(self._slirp, 0, self._get_events, self._ffi.NULL)
        now = self._clock()
        for number, (kind, argument, deadline) in list(self._timers.items()):
            if deadline <= now:
                self._timers[number] = (kind, argument, float("inf"))
                self._library.slirp_handle_timer(self._slirp, kind, argument)
        self._raise_error()

    # --- forwarded ports ---

    def add_host_forward(self, forward: HostForward) -> None:
        """Listen on the machine and lead what comes to a station.

        Raises:
            SettingsError: the port cannot be listened on; the message says why.
        """
        host, host_size = self._socket_address(forward.host.address, forward.host.port)
        guest, guest_size = self._socket_address(forward.guest or self._default_guest, forward.guest_port)
        flags = _flags(forward.host)
        self._ffi.errno = 0
        done = self._library.slirp_add_hostxfwd(self._slirp, host, host_size, guest, guest_size, flags)
        self._raise_error()
        if done != 0:
            raise SettingsError(f"cannot forward {forward}: {_reason(self._ffi.errno)}")

    def remove_host_forward(self, end: HostEnd) -> bool:
        """Stop listening; whether there was such a forward."""
        host, size = self._socket_address(end.address, end.port)
        done = self._library.slirp_remove_hostxfwd(self._slirp, host, size, _flags(end))
        self._raise_error()
        return bool(done == 0)

    def add_guest_forward(self, address: IPv4Address, port: int, path: str) -> None:
        """Lead connections of stations to ``address`` to the Unix socket at ``path``.

        The library waits where the socket's queue of connections is full, and everything with it: whoever
        listens there must keep it short.

        Raises:
            SettingsError: the address is not free.
        """
        where = self._ffi.new("struct in_addr *")
        where.s_addr = _in_addr(address)
        if self._library.slirp_add_unix(self._slirp, path.encode(), where, port) != 0:
            raise SettingsError(f"cannot forward {address}:{port}: it is not free")

    def _socket_address(self, address: IpAddress, port: int) -> tuple[Any, int]:
        if isinstance(address, IPv4Address):
            made = self._ffi.new("struct sockaddr_in *")
            made.sin_family, made.sin_port = socket.AF_INET, socket.htons(port)
            made.sin_addr.s_addr = _in_addr(address)
        else:
            made = self._ffi.new("struct sockaddr_in6 *")
            made.sin6_family, made.sin6_port = socket.AF_INET6, socket.htons(port)
            made.sin6_addr.s6_addr = list(address.packed)
        return made, self._ffi.sizeof(made[0])

    # --- the state, for people ---

    def connections(self) -> list[str]:
        """Give libslirp's table of connections and forwards, a line each, its heading first."""
        return self._own_text(self._library.slirp_connection_info(self._slirp))

    def neighbours(self) -> list[str]:
        """Give libslirp's table of stations, a line each."""
        return self._own_text(self._library.slirp_neighbor_info(self._slirp))

    def _own_text(self, pointer: Any) -> list[str]:
        text: str = self._ffi.string(pointer).decode(errors="replace")
        self._library.free(pointer)
        return text.rstrip().splitlines()

    def close(self) -> None:
        """Close the network with all its sockets. Idempotent; nothing else may be called after it."""
        slirp, self._slirp = self._slirp, self._ffi.NULL
        if slirp != self._ffi.NULL:
            self._library.slirp_cleanup(slirp)


def _in_addr(address: IPv4Address) -> int:
    return socket.htonl(int(address))


def _flags(end: HostEnd) -> int:
    """IPv6 without IPv4: a forward of the same port over IPv4 is a forward of its own."""
    return (HOSTFWD_UDP if end.transport == Transport.UDP else 0) | (
        HOSTFWD_V6ONLY if end.address.version == 6 else 0
    )


def _reason(number: int) -> str:
    return os.strerror(number) if number else "libslirp refuses it"
