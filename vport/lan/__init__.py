"""A LAN on this machine, described in a TOML file: ``vport lan up FILE``, ``down``, ``show``.

``description``: the file as values, checked whole. ``plan``: which steps build it, in order. ``machine``:
doing and undoing one step on the kernel. ``state``: the file that says what was made. ``builder``: up, down.
``picture``: the LAN as text. ``cli``: the command.
"""
