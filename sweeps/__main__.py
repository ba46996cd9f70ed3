"""`python -m sweeps` is `parcae-sweep`."""

from sweeps.cli import main

main()
