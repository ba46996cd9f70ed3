"""Runs as points: which a fit may use, which budget and cell each belongs to, and what is left out."""
