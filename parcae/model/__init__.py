"""The model: layers, the injection, the looped transformer and its linear algebra.

Uses parcae's configuration and FLOP count.
"""
