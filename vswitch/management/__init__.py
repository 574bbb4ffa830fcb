"""The management shell: protocol, commands, server, and the console that talks to it."""
