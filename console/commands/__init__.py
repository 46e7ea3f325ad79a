"""The command line: a module a command, each with its parser and what it does.

Only `console.__main__` imports them. They connect the floors below: profiles, journals, providers, live run, screen.
"""
