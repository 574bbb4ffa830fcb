"""One port: what carries Ethernet frames, and the client program that joins two of them.

``ethernet``, ``train``, ``offload``: frames and trains of frames, as values. ``locator``: the text that
names a link. ``links``: a module per kind of link, opened by ``open_link``. ``cable``: two links joined.
"""

from vport._version import __version__

__all__ = ["__version__"]
