"""The ds menu: the control directories in which VDE's clients find the switch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vport.links.vde_directory import DEFAULT_MODE
from vport.locator import VdeLocator
from vport.shell.command import Menu, Reply, Session, command

if TYPE_CHECKING:
    from vswitch.management.control import Control


@command("ds/showinfo", "show the control directories for VDE's clients", prints=True)
def show_info(control: Control, session: Session) -> Reply:
    """Show each directory that is served and the mode of its sockets; nothing where there is none."""
    directories = [one for one in control.running_settings().listen if isinstance(one, VdeLocator)]
    modes = [DEFAULT_MODE if one.mode is None else one.mode for one in directories]
    return Reply(
        [
            line
            for one, mode in zip(directories, modes, strict=True)
            for line in (f"ctl dir {one.path}", f"std mode 0{mode:03o}")
        ],
        document=[
            {"directory": one.path, "mode": f"{mode:04o}"}
            for one, mode in zip(directories, modes, strict=True)
        ],
    )


MENU: Final = Menu("ds", "DATA SOCKET MENU", (show_info,))
