"""What follows from a run and the present moment, as values: progress, nodes, alerts, log rows, stragglers, metrics.

Imported by everything that shows or judges a run. Pure: takes the state and ``now``; never reads a clock or a file.
"""
