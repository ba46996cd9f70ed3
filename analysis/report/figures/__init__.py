"""The report's figures: pure functions from fits to a matplotlib Figure, with its numbers below it."""
