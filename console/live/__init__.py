"""A live run and everything between this machine and its hosts: links, gang, leases, files fetched, the run's end.

Only `console.commands` imports it, and late, since asyncssh comes with it. It never draws anything, and it decides
nothing: `console.policy` does.
"""
