"""Figures as files: PDF, SVG and PNG, with what is drawn in them as CSV."""

import csv
import io
import warnings
from collections.abc import Iterator
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure

from analysis.report.figures.style import STYLE
from parcae.files import write_atomically

NO_DATE = {"pdf": {"CreationDate": None, "Producer": None}, "svg": {"Date": None}, "png": {"Software": None}}
"""The same figure is the same file, whenever it is written."""
DOTS_PER_INCH = 300
"""Of a PNG."""
COLUMNS = ("panel", "series", "kind", "x", "y")


def rendered(figure: Figure, kind: str, *, text: bool = False) -> bytes:
    """The figure as `pdf`, `svg` or `png` (300 dots per inch).

    Letters of an SVG are outlines, which look the same everywhere, unless `text` is asked for.
    """
    into = io.BytesIO()
    settings = {**STYLE, "svg.fonttype": "none" if text else "path"}
    with matplotlib.rc_context(settings), warnings.catch_warnings():
        # A model's name may have letters that the font lacks: they are boxes, and no concern of the terminal.
        warnings.filterwarnings("ignore", r"Glyph \d+ .* missing from font", UserWarning)
        engine = figure.get_layout_engine()
        if engine is not None:  # once: a second layout moves what the first has placed
            engine.execute(figure)
            figure.set_layout_engine("none")
        if kind == "svg":  # `savefig` draws twice, the first time for a layout that is settled here
            dots = figure.dpi
            FigureCanvasSVG(figure).print_svg(into, metadata=NO_DATE[kind])  # type: ignore[no-untyped-call]
            figure.set_dpi(dots)
        else:
            figure.savefig(into, format=kind, metadata=NO_DATE[kind], dpi=DOTS_PER_INCH)
    return into.getvalue()


def drawn(figure: Figure) -> Iterator[tuple[str, str, str, float, float]]:
    """Every dot, line and band in the figure: panel, series, kind, x, y.

    What has no place in the legend is labelled `_SERIES;KIND`, or `_KIND` for the series before it.
    """
    for number, axes in enumerate(figure.axes):
        panel = axes.get_title(loc="left") or f"panel {number + 1}"
        series = ""
        for line in axes.lines:
            x, y = np.asarray(line.get_xdata(), dtype=float), np.asarray(line.get_ydata(), dtype=float)
            label = str(line.get_label())
            if label.startswith("_child") or label in ("_zero", "_limit"):
                continue
            if label.startswith("_"):
                named, _, kind = label[1:].rpartition(";")
                series = named or series
            else:
                series, kind = label, "points" if line.get_linestyle() == "None" else "line"
            for at, value in zip(x, y, strict=True):
                yield panel, series, kind, float(at), float(value)
        for band in axes.collections:
            if isinstance(band, PolyCollection) and not str(band.get_label()).startswith("_child"):
                for corner in np.asarray(band.get_paths()[0].vertices, dtype=float):
                    yield panel, str(band.get_label()).lstrip("_"), "band", float(corner[0]), float(corner[1])


def data_csv(figure: Figure) -> bytes:
    """What is drawn, as CSV."""
    into = io.StringIO()
    writer = csv.writer(into, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in drawn(figure):
        writer.writerow([*row[:3], f"{row[3]:.8g}", f"{row[4]:.8g}"])
    return into.getvalue().encode()


def write_figure(figure: Figure, folder: Path, name: str) -> list[Path]:
    """Writes NAME.pdf, .svg, .png and .csv into the folder, which is made where it is missing."""
    folder.mkdir(parents=True, exist_ok=True)
    contents = {kind: rendered(figure, kind) for kind in NO_DATE} | {"csv": data_csv(figure)}
    paths = []
    for kind, content in contents.items():
        path = folder / f"{name}.{kind}"
        write_atomically(path, content, durable=False)
        paths.append(path)
    return paths
