"""`python -m analysis` is `parcae-fit`."""

from analysis.cli import main

main()
