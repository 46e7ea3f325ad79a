"""Money: what instances cost by EC2's rules, what a run has cost, and how long its budget lasts.

Imported by views, planning, policy, reports and the screen. Pure: takes the state of a run and a moment; never asks
AWS or the clock.
"""
