"""The management shell: a session of lines and replies on a Unix socket, as VDE's clients know it.

``command``: declared commands. ``arguments``: what they take. ``protocol``, ``output``, ``message``: a
session without I/O. ``server``, ``unix_socket``: sessions on a socket. ``script``: files of commands. Which
commands there are is up to who runs the shell: a switch (``vswitch.management``), a cable.
"""
