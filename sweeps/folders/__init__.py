"""Every path and record of a study on disk.

Uses parcae's configuration only. Loads no torch.
"""
