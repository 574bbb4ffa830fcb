"""The config menu: the running state as the text of a configuration file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vport.files import write_text_in_thread
from vport.shell.arguments import FilePath, file_error
from vport.shell.command import Menu, Reply, Session, command
from vswitch.config_file import write_config

if TYPE_CHECKING:
    from vswitch.management.control import Control


@command("config/show", "show the running state as a configuration file", prints=True)
def show(control: Control, session: Session) -> Reply:
    """Print what ``config/save`` would write, but for preshared keys, which stay hidden."""
    text = write_config(control.running_settings(), with_secrets=False)
    return Reply(text.removesuffix("\n").split("\n"), document={"toml": text})


@command("config/save", "write the running state to a file (mode 0600)", FilePath("path"))
async def save(control: Control, session: Session, path: str) -> None:
    """Write a file from which a switch starts as this one is now (``vswitch --config``).

    A relative path starts at the switch's working directory.
    """
    text = write_config(control.running_settings())
    try:
        await write_text_in_thread(path, text)
    except OSError as error:
        raise file_error(path, error) from None


MENU: Final = Menu("config", "CONFIGURATION MENU", (show, save))
