"""Profiles: what to rent, how to train, when to stop; TOML in, a frozen and checked `Profile` out.

Imported by everything that plans, launches or shows a run. Imports of the laptop's code only state and catalog; never
asks AWS, never reads a file other than the profile's own.
"""
