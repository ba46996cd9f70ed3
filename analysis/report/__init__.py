"""Everything about a study as text, JSON and PDF."""
