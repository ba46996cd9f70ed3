"""Faults that a study once had to survive: each was planted by hand and no test noticed."""

from collections.abc import Iterator

from tests.mutants.mutant import ROOT, Mutant

FAULTS: tuple[tuple[str, str, str, str], ...] = (
    (
        "rows",
        "sweeps/store/rows.py",
        "    once, recurrent = counted_parameters(spec.model, spec.convention)",
        "    recurrent, once = counted_parameters(spec.model, spec.convention)",
    ),
    (
        "rows",
        "sweeps/store/rows.py",
        "        tokens=float(spec.tokens),",
        "        tokens=float(training.steps),",
    ),
    (
        "rows",
        "sweeps/store/rows.py",
        "        flops_per_token=spec.flops_per_token,",
        "        flops_per_token=0.0,",
    ),
    (
        "rows",
        "sweeps/store/rows.py",
        "        backward_depth = float(default_backward_depth(mean_recurrence))",
        "        backward_depth = float(mean_recurrence // 2)",
    ),
    (
        "JSON",
        "analysis/fits/isoflop/optimum.py",
        '            "tokens": finite(self.tokens),',
        '            "tokens": finite(self.loss),',
    ),
    (
        "JSON",
        "analysis/fits/isoflop/optimum.py",
        '            "loss": finite(self.loss),',
        '            "loss": finite(self.tokens),',
    ),
    (
        "JSON",
        "analysis/prediction/predict.py",
        '            "tokens": self.tokens.value,',
        '            "tokens": self.flops,',
    ),
    (
        "JSON",
        "analysis/fits/saturation.py",
        '            "L_inf": finite(self.L_inf),',
        '            "L_inf": finite(self.huber),',
    ),
    (
        "tables",
        "analysis/report/headlines.py",
        "% below it at {p.flops:.3g} FLOPs",
        "% above it at {p.flops:.3g} FLOPs",
    ),
    (
        "fits",
        "analysis/prediction/frontier.py",
        "        return np.asarray(100 * (1 - losses[:, 1:] / losses[:, :1]))",
        "        return np.asarray(100 * (losses[:, 1:] / losses[:, :1] - 1))",
    ),
    (
        "tables",
        "analysis/report/study_text.py",
        "            number(fit.Z, 3),\n            number(fit.z, 3),",
        "            number(fit.z, 3),\n            number(fit.Z, 3),",
    ),
    (
        "tables",
        "analysis/report/study_text.py",
        "            number(100 * fit.mean_error, 3),",
        "            number(fit.mean_error, 3),",
    ),
    (
        "figures",
        "analysis/report/figures/power_laws.py",
        "law = fit.gamma_tokens if tokens else fit.gamma_axis",
        "law = fit.gamma_axis",
    ),
    (
        "figures",
        "analysis/report/figures/law.py",
        "percent = 100 * np.expm1(fit.residuals)",
        "percent = np.expm1(fit.residuals)",
    ),
)
"""(part, file, text that is in the file once, text that takes its place)."""


def named_mutants() -> Iterator[Mutant]:
    for part, file, old, new in FAULTS:
        text = (ROOT / file).read_text()
        assert text.count(old) == 1, f"{file} does not have once: {old}"
        what = f"{' '.join(old.split())}  ->  {' '.join(new.split())}"
        yield Mutant(part=part, file=file, text=text.replace(old, new), what=what)
