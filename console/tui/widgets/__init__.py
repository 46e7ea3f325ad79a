"""The panes: each draws a `Moment` as lines and keeps cursor, filter and scroll position, never data of the run.

Imported by screens and by the app's parts. What a pane asks of its screen is a message.
"""
