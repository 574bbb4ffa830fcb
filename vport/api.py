"""What programs use of this package that the commands do not: see ``vport``."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from vport import links

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from vport.links.base import Link
    from vport.locator import Locator


@asynccontextmanager
async def open_link(locator: Locator | str) -> AsyncIterator[Link]:
    """Open the link that ``locator`` names for the length of a block.

    The link carries frames while its ``run`` runs: hand it to ``run_cable`` or to a switch.

    Raises:
        SettingsError: the locator is malformed, or names no link.
        LinkError: it cannot be opened; the message says why.
    """
    with await links.open_link(locator) as link:
        yield link
