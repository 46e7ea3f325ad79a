"""A run beside others: curves, the race against a ghost, and what follows from it for the time and the cost to come.

Imported by the screen, the reports and the alerts. Pure, except `past_runs`, which reads other runs' logs.
"""
