"""What a fitted law says of other runs: the best recurrence and tokens of a budget, and the loss."""
