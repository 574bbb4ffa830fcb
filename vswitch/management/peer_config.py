"""What somebody is shown who is to give a peer its configuration: this once, with the private key in it."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from vport.locator import TapLocator, WireguardLocator
from vport.shell.command import Reply

if TYPE_CHECKING:
    from vport.wireguard.config import Config


def show_stock(name: str, config: Config) -> Reply:
    """Show a stock client's file, and the same as a QR code that WireGuard's apps read."""
    import segno

    from vport.wireguard.config_file import format_config

    text = format_config(config, for_stock=True)
    picture = io.StringIO()
    segno.make_qr(text, error="l").terminal(out=picture, compact=True)
    lines = [*text.splitlines(), "", *picture.getvalue().splitlines()]
    return Reply(lines, document=_document(name, text))


def show_own(name: str, config: Config) -> Reply:
    """Show the file of a port of ours; what people need to know are comments: all of it is the file."""
    from vport.wireguard.config_file import format_config

    text = format_config(config)
    place = WireguardLocator(file=f"/etc/wireguard/{name if name.isalnum() else 'lan'}.conf")
    device = TapLocator(name="tapyuan", mtu=config.mtu, address=config.addresses)
    lines = [
        f"# The file of {name}, mode 0600. Its private key is shown this once and kept nowhere.",
        f"# There, with the file in its place: sudo vport {place} '{device}'",
        *text.splitlines(),
    ]
    return Reply(lines, document=_document(name, text))


def _document(name: str, text: str) -> dict[str, object]:
    return {"name": name, "token": None, "configuration": text}
