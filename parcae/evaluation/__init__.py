"""Trained models measured on texts.

Uses everything above: model, data, losses, training and formats.
"""
