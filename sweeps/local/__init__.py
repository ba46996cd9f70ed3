"""Runs started on this machine, by a supervisor that works through a queue.

Uses folders, plan and runs.
"""
