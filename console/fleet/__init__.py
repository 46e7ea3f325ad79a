"""Where hosts come from: the interface of a provider, the hosts of this machine, those that exist, and AWS.

`console.live` and `console.discovery` use it; after an address and a pinned key nothing knows the provider.
"""
