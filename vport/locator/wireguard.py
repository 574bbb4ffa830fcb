"""Locators of WireGuard: a file for either end, or what the command line can say without a secret."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, ClassVar
from urllib.parse import quote, unquote

from vport.errors import SettingsError
from vport.locator.base import SAFE, Locator, option
from vport.readers import (
    InterfaceAddress,
    IpAddress,
    file_path,
    host_and_port,
    integer,
    interface_address,
    ip_address,
    write_host_and_port,
)


def _secret_file(text: str) -> str:
    """Read ``@FILE``: a secret itself would be seen by every user of the machine, and kept in histories."""
    if not text.startswith("@") or len(text) < 2:
        raise SettingsError("must be @FILE: keys do not belong on command lines, where others can see them")
    return file_path(text[1:])


def _public_key(text: str) -> str:
    """Read a public key as far as can be told without the library that knows keys."""
    if not re.fullmatch(r"[A-Za-z0-9+/]{43}=", text):
        raise SettingsError("is not a public key: 44 characters of base64, as vport pubkey prints them")
    return text


def _show_file(path: str) -> str:
    return f"@{path}"


@dataclass(frozen=True, slots=True, kw_only=True)
class WireguardLocator(Locator):
    """WireGuard: Ethernet for our own ports, IP for stock clients. See ``vport.links.wireguard``.

    ``file`` is a file as ``wg-quick`` has it, and says everything; where it is empty, ``host`` and
    ``port`` and the options do.
    """

    scheme: ClassVar[str] = "wg"
    form: ClassVar[str] = "wg:///FILE, wg://HOST:PORT?peer=KEY&key=@FILE, listening: wg://[ADDRESS]:PORT"
    summary: ClassVar[str] = "WireGuard: encrypted, authenticated; Ethernet for vport, IP for stock clients"
    can_listen: ClassVar[bool] = True
    may_hold_secrets: ClassVar[bool] = True

    file: str = ""
    host: str = ""
    port: int = 0
    key: str | None = option(None, _secret_file, "file with our private key", "@FILE", _show_file)
    peer: str | None = option(None, _public_key, "calling: the public key of the far end", "KEY")
    psk: str | None = option(None, _secret_file, "calling: file with the preshared key", "@FILE", _show_file)
    keepalive: int = option(
        25, integer(0, 65535), "calling: send something at least so often, 0 for never", "SECONDS"
    )
    lan: tuple[InterfaceAddress, ...] = option(
        (), interface_address, "listening: network of the LAN, for clients that have IP only; repeatable",
        "ADDRESS/PREFIX",
    )  # fmt: skip
    gateway: tuple[IpAddress, ...] = option(
        (), ip_address, "listening: where such clients' packets go that leave the LAN; repeatable", "ADDRESS"
    )
    peers: str | None = option(None, file_path, "listening: file of the peers added by command", "FILE")
    public: str | None = option(
        None, str, "listening: HOST:PORT under which invitations tell others to call", "HOST:PORT"
    )
    mtu: int | None = option(
        None, integer(576, 65535), "longest packet of the network below, if it is not its device's",
        "N",
    )  # fmt: skip

    @classmethod
    def read_target(cls, text: str) -> dict[str, Any]:
        """Read a path, which has a slash in it, or ``HOST:PORT``."""
        if "/" in text:
            return {"file": file_path(unquote(text))}
        host, port = host_and_port(text)
        return {"host": host, "port": port}

    def write_target(self) -> str:
        """Write the path or ``HOST:PORT``."""
        return quote(self.file, safe=SAFE) if self.file else write_host_and_port(self.host, self.port)
