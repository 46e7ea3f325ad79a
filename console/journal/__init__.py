"""The files of a run: its journal read and written, its directory, and foreign logs turned into the same records.

Imported by playback, live runs, commands and whatever needs a run that was. Never raises for what stands in a file:
what cannot be read is counted. Never draws, and never connects to anything.
"""
