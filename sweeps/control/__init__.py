"""What the commands call: start, cancel, explain, and find a model.

Uses everything but the command line.
"""
