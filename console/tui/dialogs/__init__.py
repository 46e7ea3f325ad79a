"""Modal screens that ask the operator something and return the answer; the help.

Imported by screens, widgets and both apps. A dialog never acts on its answer.
"""
