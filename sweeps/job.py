"""The old name of `sweeps.slurm.job`, which jobs queued before it moved have in their pickles.

To be removed in 0.2.0.
"""

from sweeps.slurm.job import RunJob

__all__ = ["RunJob"]
