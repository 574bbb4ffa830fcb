"""WireGuard without I/O: handshake, cookies, replay window, timers, and Ethernet inside it.

``device.Device`` is the whole of it for one UDP socket: datagrams, trains and `now` in, events out. Read
``events`` next, then ``peer`` (one far end), ``timers`` and ``sessions`` (its tables), and ``reception``
(what comes in a session). ``noise``, ``cookie``, ``replay``, ``keypair`` and ``batch`` each do one thing that
can be tested alone; ``records`` and ``packets`` say what is inside a message; ``ip_station`` shows a stock
client to the LAN; ``config`` is what the files of WireGuard's users say, which ``config_file`` reads and
writes.
"""
