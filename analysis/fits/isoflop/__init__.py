"""IsoFLOP curves: parabolas for each budget, their bias, and the power laws through their vertices."""
