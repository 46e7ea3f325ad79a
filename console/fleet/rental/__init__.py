"""The `aws` provider: one run's instances, from the launch to their termination.

For `console.fleet.choose` and `console.discovery`. Writes to fleet.json before each call that creates something, and
reports everything that could not be deleted.
"""
