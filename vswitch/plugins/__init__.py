"""Plugins: what can be added to a running switch without changing it.

``api`` says what a plugin is; ``loader`` finds one by name or file; ``shelf`` holds those that are loaded and
stands between them and the switch. ``dump`` and ``iplog`` come with the switch. A plugin of one's own is a
subclass of ``Plugin`` in a file, or behind an entry point of the group ``vswitch.plugins``: see
``examples/plugin``.
"""

from __future__ import annotations

from vswitch.plugins.api import Plugin, PluginHost

__all__ = ["Plugin", "PluginHost"]
