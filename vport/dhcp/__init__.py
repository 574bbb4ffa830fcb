"""Addresses and names for a LAN, without I/O: a DHCP server and a name server on a simulated station.

``messages``: DHCP as values; ``leases``: who has which address until when; ``server``: what is answered to
whom (RFC 2131); ``names``: DNS for the stations with a lease; ``storage``: leases as text for the disk;
``station``: all of it at a MAC and an IP address of a LAN. ``vport.links.dhcp`` runs it on Trio.
"""
