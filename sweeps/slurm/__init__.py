"""Runs on SLURM: submission through submitit, job arrays, and the scheduler's answers.

Uses folders, plan and runs.
"""
