"""Runs started by SLURM: submission through submitit, job arrays, and what the scheduler answers.

Uses folders, plan and runs.
"""
