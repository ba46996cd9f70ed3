"""What is fitted to a study: a file for each fit, with its result."""
