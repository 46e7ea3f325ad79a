"""Training on one rank of the gang, and the launcher that starts a node's ranks.

`remote.agent` starts the launcher as a process of its own; nothing imports this district. It needs torch, but for the
launcher until it imports the rest. It never talks to the console: what it reports goes through the journal.
"""
