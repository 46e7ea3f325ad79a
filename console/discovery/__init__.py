"""Runs that another laptop launched: found by their tags at AWS, priced, ended, or taken over by this laptop.

For the commands and the list of runs. Drives no run itself, and connects to no host whose key the tags do not pin.
"""
