"""``python -m remote.prepare``: packs a data set once, so that every run reads it fast.

Nothing imports it. It needs numpy and Pillow, not torch, and never changes its source.
"""
