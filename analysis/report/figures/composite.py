"""The first page's figure: curves, power laws, and the looped frontier against no loop."""

from matplotlib.figure import Figure

from analysis.data.axis import Axis
from analysis.report.figures.frontier import frontier_losses
from analysis.report.figures.isoflop import isoflop_curves
from analysis.report.figures.law import contours
from analysis.report.figures.power_laws import optima
from analysis.report.figures.style import blank, in_style, letter
from analysis.report.fitted_study import FittedModel, FittedStudy


def main_model(findings: FittedStudy) -> tuple[str, FittedModel]:
    """The model with the most runs."""
    return max(findings.models.items(), key=lambda item: len(item[1].points))


@in_style
def composite(findings: FittedStudy) -> Figure | None:
    """The three panels that answer the question; a panel without data is left out, and None where all are."""
    if not findings.models:
        return None
    name, found = main_model(findings)
    fits = {model: one.isoflop for model, one in findings.models.items()}
    panels = []
    if any(o.along_axis is not None for o in found.isoflop.optima):
        panels.append((name, lambda axes: isoflop_curves(found.isoflop, axes)))
    if any(fit.interior for fit in fits.values()):
        looped = any(fit.axis is Axis.MEAN_RECURRENCE for fit in fits.values())
        panels.append(("how often to loop" if looped else "the best size", lambda axes: optima(fits, axes)))
    if found.frontier and any(p.supported for p in found.frontier.points):
        panels.append(("a loop against none", lambda axes: frontier_losses(found, axes)))
    elif found.training.law.usable:
        panels.append(("the law", lambda axes: contours(found, axes)))
    if not panels:
        return None
    figure, axes = blank((1,) * len(panels), height=2.45)
    for which, place, (title, draw) in zip("abc", axes, panels, strict=False):
        draw(place)
        letter(place, which if len(panels) > 1 else "", title)
    return figure
