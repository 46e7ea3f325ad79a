"""What a record does to a run: `apply` and an arm an event, by what it concerns.

Pure. Any district above may call `console.fold.apply`; nothing here reads a clock or a file.
"""
