"""The `parcae-sweep` command, a file for each topic: parse, call one function, print.

Uses everything of sweeps. It alone may ask analysis, for predicted losses and for the published study.
"""


def main() -> None:
    from sweeps.cli.app import run

    run()
