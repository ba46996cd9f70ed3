"""What the report says, whatever the format: its parts, its numbers, its first page and its chapters."""
