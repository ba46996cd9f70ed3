"""Every path and record of a study on disk.

Uses parcae's configuration and the names of training's files. Loads no torch.
"""
