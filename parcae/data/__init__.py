"""From text to batches: the corpus, the tokenizer, windows and batches, and the random streams.

Uses parcae's configuration.
"""
