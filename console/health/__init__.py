"""What is wrong with a live run: symptoms as figures, alerts with a beginning and an end, hooks that are told of them.

`console.live` runs the monitor. Symptoms and alerts are pure; nothing here stops or changes a run.
"""
