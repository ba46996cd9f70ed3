"""What the Python of a SLURM task executes first.

To load the pickle of a job is to execute what it says, so it must be the user's own, and nobody else may be
able to write it.
"""

import os
import stat
import sys
import time
from pathlib import Path

FILE_SECONDS = 60.0
"""submitit gives the file its name when sbatch has returned."""


def check_own(pickle: Path) -> None:
    """Exits with a sentence unless the file belongs to this user and only its owner may write it."""
    found = pickle.stat()
    if found.st_uid != os.getuid():
        sys.exit(f"the job {pickle} belongs to user {found.st_uid}, not to {os.getuid()}; it is not executed")
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        sys.exit(f"the job {pickle} can be written by other users; it is not executed")


def main() -> None:
    from submitit.core.job_environment import JobEnvironment
    from submitit.core.submission import submitit_main

    os.environ["SUBMITIT_FOLDER"] = sys.argv[1]
    pickle = JobEnvironment().paths.submitted_pickle
    deadline = time.monotonic() + FILE_SECONDS
    while not pickle.exists() and time.monotonic() < deadline:
        time.sleep(0.5)
    if pickle.exists():
        check_own(pickle)
    submitit_main()


if __name__ == "__main__":
    main()
