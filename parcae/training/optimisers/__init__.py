"""Muon, which parameters get which optimiser, and the schedules of their rates.

Uses model.
"""
