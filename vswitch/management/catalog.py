"""All commands of a switch: the menus in the order in which ``help`` lists them."""

from __future__ import annotations

from typing import Final

from vswitch.management import general
from vswitch.management.command import Catalog

CATALOG: Final = Catalog([general.MENU])
