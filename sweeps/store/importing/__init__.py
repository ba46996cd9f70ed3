"""A study in from a file of any common kind: read, its columns found, its numbers judged, made into rows."""
