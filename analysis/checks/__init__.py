"""What speaks against a law: two routes to an optimum, other choices in the fit, runs it has not seen."""
