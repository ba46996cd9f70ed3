"""One law on points: the search from many starts, the verdict, and the uncertainty."""
