"""What travels inside frames, as far as this project speaks it: ARP, IPv4, IPv6, ICMP, neighbour discovery.

``arp``; ``ip`` (both versions); ``icmp`` (both versions, echo);
``nd`` (neighbour discovery). Each decodes bytes to a frozen value or raises FrameError, and encodes the
value back with its checksum. Who answers what is not decided here: see ``vport.station``.
"""
