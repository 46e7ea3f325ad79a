"""A run as text and as data for other programs: story, headline, headless lines, receipt, exports.

Imported by the commands and by live runs. Writes to a stream that it is given; never opens a file.
"""
