"""What the console does by itself and what its operator may ask: pure functions of the run and the time.

`console.live` and `console.tui` import it. It reads no clock, no file and no network, and carries nothing out.
"""
