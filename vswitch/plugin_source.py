"""What a plugin is loaded from: its name, or the path of its file."""

from __future__ import annotations

import os


def plugin_source(text: str) -> str:
    """Give a name as it is, and a path (what ends in ``.py`` or has a slash) in full.

    A daemon has another working directory than whoever started it.
    """
    if text.endswith(".py") or "/" in text:
        return os.path.abspath(os.path.expanduser(text))
    return text
