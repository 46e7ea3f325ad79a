"""A run as immutable values, the events that change it, and how it ended.

Imported by every district above. Pure: only `console.fold` makes one state from another, and nothing here reads a
clock or a file.
"""
