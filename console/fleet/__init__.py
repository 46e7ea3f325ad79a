"""Where hosts come from: the interface of a provider, embedded hosts on this machine, existing hosts, and AWS.

For `console.live`, `console.discovery` and the commands. Once there is an address with a pinned key, no caller depends
on which provider it came from.
"""
