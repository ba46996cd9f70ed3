"""Watching a sweep: a dashboard on a terminal, a line for each change of state in a pipe."""
