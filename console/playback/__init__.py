"""A run in time: a log played at any speed, and the past of a live run, behind one interface, `Source`.

Imported by the screen and by the commands that show a run. Never changes a run: it folds records and holds states.
"""
