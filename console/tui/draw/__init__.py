"""Lines of text with tones, from states and views alone: no Textual, no clock, no files.

Imported by the widgets, and by benches and tests that need a picture without a terminal.
"""
