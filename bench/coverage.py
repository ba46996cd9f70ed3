"""Do 95 % intervals cover the truth 95 % of the time? Simulated studies of the published shape say.

    python bench/coverage.py > bench/results/coverage.txt        # 200 studies of each design

Truths: the training law fitted to the published points (x, y, the exponent of its own optimum, and the loss
it predicts at 4 times the largest budget), and curves that are exact parabolas whose vertices are an exact
power law (the exponent through isoFLOP vertices). The vertices are scored against the law's own exponent too,
where their parabolas are only an approximation. Noise is log-normal.
"""

import argparse
from dataclasses import dataclass, replace

import numpy as np

from analysis.dataset import ModelPoints, build_study
from analysis.frontier import Shape, best_recurrence, frontier, losses_at, shape_of
from analysis.intervals import Interval, interval
from analysis.isoflop import fit_isoflop
from analysis.published import published_tables
from analysis.training import fit_training_law, study_training_law
from parcae.config import default_backward_depth
from parcae.flops import flops_per_token
from parcae.presets import preset

NOISE = 0.002
"""Deviation of the log loss; 0.2 %."""
FURTHER = 4.0
"""The prediction is made at this many times the largest budget."""
SMALL, MEDIUM = "small-140m", "medium-370m"
BUDGETS = (1e18, 2e18, 4e18, 8e18, 1.6e19, 6.4e19)


@dataclass(frozen=True, kw_only=True)
class Coverage:
    """How many of the studies that could be fitted had the truth inside the interval."""

    quantity: str
    truth: float
    studies: int
    fitted: int
    covered: int
    width: float
    """Median width of the interval."""

    @property
    def fraction(self) -> float:
        return self.covered / self.fitted if self.fitted else float("nan")


def published_points(model: str) -> ModelPoints:
    """The published runs of one model."""
    return build_study("published", "imported", *published_tables()).models[model]


def grid_points(model: str, budgets: tuple[float, ...], recurrences: tuple[float, ...]) -> ModelPoints:
    """A full grid for a published model; its losses are yet to be simulated."""
    template = published_points(model)
    once, recurrent = template.once_parameters[0], template.recurrent_parameters[0]
    flops, mean_recurrence = (a.ravel() for a in np.meshgrid(budgets, recurrences, indexing="ij"))
    cost = [
        flops_per_token(preset(model).model, mean_recurrence=m, backward_depth=default_backward_depth(int(m)))
        for m in mean_recurrence
    ]
    n = len(flops)
    return replace(
        template,
        run_ids=tuple(str(i) for i in range(n)),
        flops=flops,
        mean_recurrence=mean_recurrence,
        tokens=flops / np.array(cost),
        effective_parameters=once + mean_recurrence * recurrent,
        once_parameters=np.full(n, once),
        recurrent_parameters=np.full(n, recurrent),
        loss=np.full(n, np.nan),
    )


def law_coverage(
    points: ModelPoints, *, studies: int, resamples: int = 1000, noise: float = NOISE
) -> list[Coverage]:
    """x, y, the exponent of the law's optimum and the loss at ``FURTHER`` times the largest budget."""
    published = published_points(points.model)
    truth = fit_training_law(published.effective_parameters, published.tokens, published.loss)
    shape = shape_of(points)
    assert shape is not None
    vector, further = truth.fit.vector, FURTHER * points.budgets[-1]
    best = best_recurrence(vector, shape, [further])
    truths = {
        "x": truth.x,
        "y": truth.y,
        "gamma of the law": _exponent(vector, shape, points),
        "loss at 4 times the budget": _loss(vector, shape, best, further)[0],
    }
    smooth = truth.predict(points.effective_parameters, points.tokens)
    found: dict[str, list[Interval]] = {name: [] for name in truths}
    for seed in range(studies):
        scatter = np.random.default_rng(seed).standard_normal(len(smooth))
        study = study_training_law(
            replace(points, loss=smooth * np.exp(noise * scatter)), resamples=resamples, seed=seed
        )
        along = frontier(study, shape, points.budgets)
        if along is None:
            continue
        found["x"].append(study.intervals["x"])
        found["y"].append(study.intervals["y"])
        found["gamma of the law"].append(along.gamma_mean_recurrence)
        rows = np.concatenate([study.law.fit.vector, study.draws])
        losses = _loss(rows, shape, best, further)
        found["loss at 4 times the budget"].append(interval(losses[0], losses[1:]))
    return [_score(name, truths[name], found[name], studies) for name in truths]


def parabola_coverage(
    points: ModelPoints, *, studies: int, resamples: int = 1000, noise: float = NOISE
) -> Coverage:
    """The exponent through isoFLOP vertices, on parabolas whose vertices lie on the fitted power law."""
    published = published_points(points.model)
    fit = fit_isoflop(published.flops, published.mean_recurrence, published.tokens, published.loss)
    gamma = fit.gamma_mean_recurrence
    curves = [o.in_recurrence for o in fit.optima if o.in_recurrence is not None]
    at, log_c = np.log(points.flops), np.log([o.flops for o in fit.optima])
    minimum = np.interp(at, log_c, [curve.minimum for curve in curves])
    curvature = np.interp(at, log_c, [curve.curvature for curve in curves])
    smooth = minimum + curvature * np.log(points.mean_recurrence / gamma(points.flops)) ** 2
    found = _vertex_intervals(points, smooth, studies, resamples, noise)
    return _score("gamma of the vertices", gamma.exponent.value, found, studies)


def biased_coverage(
    points: ModelPoints, *, studies: int, resamples: int = 1000, noise: float = NOISE
) -> Coverage:
    """The exponent through isoFLOP vertices on the training law's own curves, which are no parabolas."""
    published = published_points(points.model)
    law = fit_training_law(published.effective_parameters, published.tokens, published.loss)
    shape = shape_of(points)
    assert shape is not None
    smooth = law.predict(points.effective_parameters, points.tokens)
    found = _vertex_intervals(points, smooth, studies, resamples, noise)
    return _score("gamma of the law by vertices", _exponent(law.fit.vector, shape, points), found, studies)


def _vertex_intervals(
    points: ModelPoints, smooth: np.ndarray, studies: int, resamples: int, noise: float
) -> list[Interval]:
    found = []
    for seed in range(studies):
        scatter = np.random.default_rng(seed).standard_normal(len(smooth))
        again = fit_isoflop(
            points.flops,
            points.mean_recurrence,
            points.tokens,
            smooth * np.exp(noise * scatter),
            resamples=resamples,
            seed=seed,
        )
        found.append(again.gamma_mean_recurrence.exponent)
    return found


def _exponent(vector: np.ndarray, shape: Shape, points: ModelPoints) -> float:
    best = best_recurrence(vector, shape, points.budgets)[0]
    looped = best > 1.001
    return float(np.polyfit(np.log(points.budgets[looped]), np.log(best[looped]), 1)[0])


def _loss(rows: np.ndarray, shape: Shape, best: np.ndarray, flops: float) -> np.ndarray:
    at = np.repeat(best, len(rows), axis=0)
    return losses_at(rows, shape.parameters(at), flops / shape.flops_per_token(at))[:, 0]


def _score(quantity: str, truth: float, found: list[Interval], studies: int) -> Coverage:
    known = [i for i in found if np.isfinite([i.low, i.high]).all()]
    return Coverage(
        quantity=quantity,
        truth=truth,
        studies=studies,
        fitted=len(known),
        covered=sum(i.low <= truth <= i.high for i in known),
        width=float(np.median([i.high - i.low for i in known])) if known else float("nan"),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--studies", type=int, default=200)
    studies = parser.parse_args().studies
    designs = {
        "published, 36 runs": published_points(SMALL),
        "published, 18 runs": published_points(MEDIUM),
        "54 runs: 6 budgets, 9 recurrences": grid_points(SMALL, BUDGETS, (1, 2, 3, 4, 5, 6, 8, 10, 12)),
        "54 runs: 9 budgets, 6 recurrences": grid_points(
            SMALL, tuple(float(c) for c in np.geomspace(1e18, 6.4e19, 9)), (2, 4, 6, 8, 10, 12)
        ),
    }
    print(f"Coverage of 95 % intervals over {studies} simulated studies, noise {100 * NOISE:g} %")
    print(f"{'design':<36}{'quantity':<38}{'truth':>8}{'fitted':>8}{'covered':>9}{'width':>9}")
    for name, points in designs.items():
        scores = law_coverage(points, studies=studies)
        for noise in (NOISE, NOISE / 4):
            for score in (
                parabola_coverage(points, studies=studies, noise=noise),
                biased_coverage(points, studies=studies, noise=noise),
            ):
                scores.append(replace(score, quantity=f"{score.quantity}, {100 * noise:g} %"))
        for score in scores:
            print(
                f"{name:<36}{score.quantity:<38}{score.truth:>8.4g}{score.fitted:>8}"
                f"{100 * score.fraction:>8.1f}%{score.width:>9.3g}",
                flush=True,
            )


if __name__ == "__main__":
    main()
