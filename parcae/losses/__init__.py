"""The training loss, and the losses of a model at every test recurrence.

Uses model and data.
"""
