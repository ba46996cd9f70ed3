"""What to run: the request, the grid of runs, and the sweep's manifest.

Uses folders.
"""
