"""What joins ports: a virtual Ethernet switch.

``bridge``, ``fdb``, ``vlan``, ``ports``: the forwarding core, without clock or sockets. ``management``: the
shell that an operator talks to. ``service``: the nursery that runs it all. ``vport`` has the links.
"""

from vport._version import __version__

__all__ = ["__version__"]
