"""The full screens, a run and a node, with their parts: layout, controls, playback, comparison.

Imported by the app alone. They pass the moment to the panes and the operator's commands to the source.
"""
