"""The first page's figure: curves, power laws, and the looped frontier against no loop."""

from collections.abc import Callable

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.data.axis import Axis
from analysis.report.content.abstract import law_to_speak_of, main_model
from analysis.report.figures.frontier import frontier_losses
from analysis.report.figures.isoflop import isoflop_curves
from analysis.report.figures.law import contours
from analysis.report.figures.power_laws import optima, worth_drawing
from analysis.report.figures.style import blank, in_style, letter
from analysis.report.fitted_study import FittedStudy

Panel = tuple[str, str, Callable[[Axes], Axes]]
"""Title, caption, and what draws it."""
FEWEST = 2
"""Panels of a composite: one alone is a chapter's own figure."""


@in_style
def composite(findings: FittedStudy) -> tuple[Figure, list[str]] | None:
    """The panels that answer the question, with a caption each; None where there is one or none."""
    panels = _panels(findings)
    if len(panels) < FEWEST:
        return None
    figure, axes = blank((1,) * len(panels), height=2.45)
    for which, place, (title, _, draw) in zip("abc", axes, panels, strict=False):
        draw(place)
        letter(place, which, title)
    return figure, [caption for _, caption, _ in panels]


def _panels(findings: FittedStudy) -> list[Panel]:
    name, found = main_model(findings)
    fits = {model: one.isoflop for model, one in findings.models.items()}
    panels: list[Panel] = []
    if any(o.along_axis is not None for o in found.isoflop.optima):
        words = (
            f"Loss of {name} along {found.isoflop.axis.words} for each budget (FLOPs): dots are runs, lines "
            "parabolas in the logarithm by least squares, stars their minima."
        )
        panels.append((name, words, lambda axes: isoflop_curves(found.isoflop, axes)))
    if worth_drawing(fits):
        looped = any(fit.axis is Axis.MEAN_RECURRENCE for fit in fits.values())
        title = "how often to loop" if looped else "the best size"
        words = "The optima over budgets and the power laws through them."
        panels.append((title, words, lambda axes: optima(fits, axes)))
    if found.frontier and any(p.supported for p in found.frontier.points):
        words = (
            f"The law's loss of {name} for each budget with the advised mean recurrence (band: 95 % "
            "interval) and without a loop, and the lowest loss measured."
        )
        panels.append(("a loop against none", words, lambda axes: frontier_losses(found, axes)))
    elif law_to_speak_of(found) is not None and found.training.law.fit.usable:
        words = f"Lines of equal loss (nats) by the law of {name}, and its runs."
        panels.append(("the law", words, lambda axes: contours(found, axes)))
    return panels
