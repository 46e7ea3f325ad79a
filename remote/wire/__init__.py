"""The wire: what the laptop and the hosts say to each other, and the names of the files through which they do.

The only part of `remote` that `console` imports. Standard library alone; never opens a connection and never trains.
"""
