"""What the report says, whatever the format: its parts, its numbers, and a file for each chapter."""
