"""Files as others publish them, through the commands: the options they need, and the value that is known."""

import re
from pathlib import Path
from typing import Any

import pytest

from parcae.flops import counted_parameters
from parcae.presets import PRESETS
from sweeps.plan.grid import Text, isoflop_grid
from tests.conftest import Command

LOOPED_LOG = """\
model,r,FLOPs/tok,Tokens,Val BPB,Steps,Time
r1_1.35e19_s20,1,1.67e9,8.08B,0.8330,15406,9:56h
r2_1.35e19_s20,2,2.24e9,6.02B,0.8266,11486,9:43h
r4_1.35e19_s20,4,3.38e9,3.99B,0.8333,7613,9:56h
r6_1.35e19_s20,6,4.52e9,2.98B,0.8437,5693,8:18h
r2_2.15e18_s12,2,9.96e8,2.16B,0.9060,4118,1:52h
"""
BY_HAND = """\
model,flops,mean_recurrence,tokens,val_loss
s20,1.35e19,1,8.08e9,0.8330
s20,1.35e19,2,6.02e9,0.8266
s20,1.35e19,4,3.99e9,0.8333
s20,1.35e19,6,2.98e9,0.8437
"""
RUN_TABLE = """\
run_name,run_state,budget,params_label,params_planned,tokens_planned,parameter_count,total_tokens,achieved_flops,cd_val_loss
a,finished,3e+17,4.6M,4601344,3011510272,4601984,3011510272,3.00003e+17,1.53779
b,finished,3e+17,11.6M,11621376,1389363200,11622272,1389363200,3.00006e+17,1.51028
c,finished,3e+17,28.1M,28080128,644808704,28081408,644808704,2.99999e+17,1.66274
d,finished,3e+17,49.5M,49519360,409993216,49520896,409993216,3.00000e+17,1.53659
e,crashed,3e+17,80M,80000000,1000000,80000000,1000000,1e+15,
"""
GSHARD = """\
"Name","train/avg_loss_AVG","eval/ppl//c4.jsonl","State","optim.lr","torch_seed","batch_size","optim/n_tokens"
"moe.experts_4","4.49","96.7","failed","0.004","0","32","262144000"
"moe.experts_8","4.83","133.0","failed","0.001","0","32","262144000"
"""
LAST = """\
loss,C4 Eval Loss,N,N_no_emb,D,C,C_no_emb,C_6ND,model,train_tokens,peak_lr
3.2875,3.2875,93940416,35842752,16777216000,9456351902178213888,3608049554037669888,9456351902171136000,m_35m,16777216000,0.002
5.5622,5.5622,57234240,12047168,209715200,72017340536193024,15158845484826624,72017340530688000,m_12m,209715200,0.002
"""
PERPLEXITIES = """\
model,flops,mean_recurrence,test_recurrence,val_loss
looped,4e17,9,1,1217.0
looped,4e17,9,2,401.3
looped,4e17,9,4,65.3
looped,4e17,9,8,65.2
looped,4e17,9,16,65.2
"""


@pytest.fixture
def study(tmp_path: Path, command: Command) -> Any:
    """Imports a text under options, and gives the JSON of a command on it."""

    def run(text: str, options: tuple[str, ...], *arguments: str) -> Any:
        (tmp_path / "theirs.csv").write_text(text)
        ran = command("parcae-sweep", "import", "theirs.csv", "--sweep", "theirs", *options)
        assert ran.code == 0, ran.err
        fitted = command(*arguments, "--json")
        assert fitted.code == 0, fitted.err
        return fitted.json

    return run


@pytest.mark.parametrize(
    ("text", "options", "loss"),
    [
        (LOOPED_LOG, ("--bytes-per-token", "4.5"), 0.82652 * 4.5 * 0.693147),
        (BY_HAND, (), 0.82652),
    ],
    ids=["as the log prints it", "by hand"],
)
def test_recurrences_at_one_budget(study: Any, text: str, options: tuple[str, ...], loss: float) -> None:
    models = study(text, options, "parcae-fit", "isoflop")["models"]
    (model,) = models.values()
    best = model["optima"][-1]
    assert best["interior"]
    assert best["mean_recurrence"] == pytest.approx(1.980, abs=0.002)
    assert best["loss"] == pytest.approx(loss, rel=1e-4)


def test_a_run_table_of_sizes_at_fixed_flops(study: Any, command: Command) -> None:
    found = study(RUN_TABLE, (), "parcae-fit", "isoflop")
    assert found["left_out"] == {"failed": 1}
    (optimum,) = found["models"]["theirs"]["optima"]
    assert (optimum["runs"], optimum["interior"], optimum["verdict"]) == (4, False, "opens downward")
    ids = [run["run_id"] for run in command("parcae-sweep", "status", "--json").json["runs"]]
    assert ids == [f"theirs:{name}" for name in "abcde"]


def test_checkpoints_of_many_sizes(study: Any, command: Command, tmp_path: Path) -> None:
    shown = study(LAST, (), "parcae-sweep", "status")["runs"]
    assert [run["flops"] for run in shown] == [9456351902178213888, 72017340536193024]
    ran = command("parcae-sweep", "import", "theirs.csv", "--sweep", "again", "--dry-run")
    assert ran.code == 0
    header, first, _ = ran.out.splitlines()
    row = dict(zip(header.split("\t"), first.split("\t"), strict=True))
    assert (row["parameters"], row["tokens"], row["val_loss"]) == ("93940416", "16777216000", "3.2875")
    assert "parameters from 'N', tokens from 'train_tokens', flops from 'C'" in ran.err
    assert not (tmp_path / "runs" / "sweeps" / "again.csv").exists()


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (GSHARD, r"lacks the column parameters and val_loss .* found tokens \(optim/n_tokens\)"),
        (PERPLEXITIES, "losses of 65.2 to 1217, too high for nats per token; they look like perplexities"),
        (LOOPED_LOG, "in bits per byte; give the bytes per token"),
    ],
)
def test_what_cannot_be_fitted_is_refused(command: Command, tmp_path: Path, text: str, named: str) -> None:
    (tmp_path / "theirs.csv").write_text(text)
    ran = command("parcae-sweep", "import", "theirs.csv", "--sweep", "theirs")
    assert ran.code == 2
    assert re.search(named, ran.sentence)
    assert not (tmp_path / "runs").exists()


def test_perplexities_are_read_as_such(study: Any) -> None:
    (run,) = study(PERPLEXITIES, ("--loss", "perplexity"), "parcae-fit", "saturation")["runs"]
    assert run["best_loss"] == pytest.approx(4.17746, abs=1e-5)


def test_a_known_law(study: Any) -> None:
    """E 2, X 2e3 x .42, Y 8e3 y .42 on the planner's own grid: at 2e19 the best recurrence is 22.09."""
    once, recurrent = counted_parameters(PRESETS["small-140m"].model)
    lines = ["model;budget;loops;n_tokens;final/val_loss"]
    for spec in isoflop_grid(
        "small-140m", (1e18, 4e18, 1.6e19, 6.4e19), (1, 2, 4, 6, 8, 10, 12, 16), text=Text("t", "0", "b", "0")
    ):
        depth, tokens = spec.training.mean_recurrence, spec.tokens
        loss = 2 + 2e3 * (once + depth * recurrent) ** -0.42 + 8e3 * tokens**-0.42
        lines.append(f"small-140m;{spec.flops_budget:g};{depth};{tokens};{loss!r}")
    found = study("\n".join(lines), (), "parcae-fit", "predict", "--flops", "2e19")["continuous"]
    assert found["mean_recurrence"]["value"] == pytest.approx(22.09, abs=0.01)
    assert found["tokens"]["value"] == pytest.approx(9.050e9, rel=1e-3)
    assert found["loss"]["value"] == pytest.approx(3.03186, abs=1e-5)
