"""One run: its state, its resources and environment, and the worker that trains it on its node.

Uses folders and plan.
"""
