"""Runs that fail on a real SLURM: `why` says what happened, the others go on, and `retry` runs one alone."""

import shutil
from collections.abc import Callable
from dataclasses import replace

from tests.slurm.shell import LONG, SHORT, Shell, events, specs, steps_logged, until


def test_what_failed_says_why_and_is_retried_alone(shell: Shell) -> None:
    good, broken = specs(SHORT, [1], [0, 1])
    wrong = replace(good, corpus_hash="another text")
    huge = replace(good, model=replace(good.model, width=1_000_000, mlp_width=1_000_000))
    runs = shell.plan([good, broken, wrong, huge])
    done, failing, misconfigured, too_large = runs
    assert shell("submit").code == 0
    failing.path.joinpath("checkpoint").write_text("in the way of a folder")
    waited = shell("watch")
    assert waited.code == 1
    assert "3 of 4 runs are not done" in waited.err
    assert shell.states() == ["done", "failed", "failed", "failed"]

    assert "checkpoint" in shell.why(failing)["reason"]
    assert "Traceback" in shell.why(failing)["traceback"]
    assert "retry" in shell.why(failing)["next_step"]
    assert "has the hash" in shell.why(misconfigured)["reason"]
    assert shell.why(too_large)["reason"].startswith("out of memory")
    assert shell.why(done)["reason"] is None
    listed = shell("why").out
    assert all(run.run_id in listed for run in runs[1:])
    assert done.run_id not in listed
    assert failing.run_id in shell("logs", failing.run_id[:8], "--lines", "100").out

    refused = shell("retry", done.run_id)
    assert (refused.code, "which is done" in refused.sentence) == (2, True)
    failing.path.joinpath("checkpoint").unlink()
    retried = shell("retry", failing.run_id, "--wait")
    assert "1 of 4 runs handed to SLURM" in retried.err
    assert shell.states() == ["done", "done", "failed", "failed"]
    assert [len(events(run, "started")) for run in runs] == [1, 2, 1, 1]


def test_slurms_own_ends_are_told_in_words_and_nothing_unknown_or_cancelled_starts_by_itself(
    shell: Shell, full: Callable[[], None]
) -> None:
    (shell.folder / "cluster.toml").write_text("memory_gb_per_node = 0.1\n")
    (greedy,) = shell.plan(specs(SHORT, [1], [0]))
    shell("submit")
    until(lambda: shell.job_state(shell.job(greedy)) == "FAILED")
    full()
    waiting = shell.plan(specs(SHORT, [1], [1, 2]))[0]
    shell("submit")
    shell.slurm("scancel", shell.job(waiting))
    until(lambda: shell.job_state(shell.job(waiting)) in ("CANCELLED", ""))
    shell.forget()
    # SLURM has no record at all of a task of an array that was cancelled before it started.
    assert shell.states()[:2] == ["failed", "unknown"]
    assert "out of memory" in shell.why(greedy)["reason"]
    assert "may have been cancelled before it started" in shell.why(waiting)["reason"]
    assert "0 of 3" in shell("submit").err
    shell("cancel")
    assert shell.states() == ["failed", "cancelled", "cancelled"]
    assert "0 of 3" in shell("submit").err
    (shell.folder / "cluster.toml").write_text('partition = "nowhere"\n')
    refused = shell("retry", "--state", "failed", "--state", "cancelled")
    assert (refused.code, "sbatch refused" in refused.sentence) == (1, True)
    assert shell.states() == ["failed", "cancelled", "cancelled"]
    assert "out of memory" in shell.why(greedy)["reason"]


def test_a_run_whose_folder_was_deleted_is_not_trained_twice(shell: Shell) -> None:
    (run,) = shell.plan(specs(LONG, [1], [0]))
    assert shell("submit").code == 0
    before = shell.job(run)
    until(lambda: steps_logged(run) >= 3)
    shutil.rmtree(run.path)
    assert shell.states() == ["planned"]
    assert "1 of 1 runs handed to SLURM" in shell("submit").err
    until(lambda: shell.job_state(before) != "RUNNING")
    assert shell.job(run) != before
    until(run.result.exists)
    assert len(events(run, "started")) == 1
