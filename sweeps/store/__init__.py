"""The database: its schema, the rows in it, and how they get there from folders and CSV files.

Uses folders, plan, runs and the state of runs on SLURM.
"""
