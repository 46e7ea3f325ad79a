"""The screen: Textual apps over a `console.playback.source.Source`, which is a live run or a log.

Imported lazily by `console.commands` and `console.__main__`, and by nothing below. It never reaches hosts, EC2 or files
of a run: it draws states through views and sends commands to the source.
"""
