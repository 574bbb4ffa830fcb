"""A simulated station, without I/O: a MAC and IP addresses that answer and ask as a real host would.

``neighbours``: who is at which MAC address, as a table with timers. ``resolution``: ARP and neighbour
discovery for one MAC, apart from all else, for whoever joins a LAN with addresses of its own. ``ping``:
echo requests under way and their statistics. ``host``: ``Station``, which joins these. ``events``: what
they report, and the words for it. ``vport.links.host`` runs a station on Trio.
"""

from vport.station.host import Station, derived_mac

__all__ = ["Station", "derived_mac"]
