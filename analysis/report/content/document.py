"""The parts that a report is made of, the same for every format.

Prose is plain text in which a formula stands between dollar signs, in the spelling of `Law.equation`
(`analysis.report.mathematics`), and code between backquotes.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.prediction.predict import Prediction


@dataclass(frozen=True, kw_only=True)
class Number:
    """A value as the report prints it, with its 95 % limits; NaN where there is none."""

    text: str
    value: float
    low: float = float("nan")
    high: float = float("nan")


Cell = str | Number


def text_of(cell: Cell) -> str:
    """What a cell says, as prose."""
    return cell if isinstance(cell, str) else cell.text


Panel = Callable[[Axes], Axes]


@dataclass(frozen=True, kw_only=True)
class Table:
    name: str
    """A short name, for references and file names."""
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    caption: str

    def wordy(self, column: int) -> bool:
        """Whether a column holds words, which stand at the left; numbers stand at the right."""
        cells = [row[column] for row in self.rows]
        return column == 0 or any(isinstance(cell, str) and cell[:1].isalpha() for cell in cells)


@dataclass(frozen=True, kw_only=True)
class Dot:
    """A run in a figure."""

    run_id: str
    text: str
    """What there is to say of it, plain."""


@dataclass(frozen=True, kw_only=True)
class Series:
    """What can be shown or hidden at once, such as the curve of a budget."""

    label: str
    gid: str
    """What the `gid` of everything drawn for it begins with."""
    dots: tuple[Dot, ...]
    """The runs, in the order of their dots."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Drawing:
    """A figure with what it shows and how that was fitted."""

    name: str
    figure: Figure
    caption: str
    panels: Mapping[str, Panel] = field(default_factory=dict)
    """What draws each panel on its own, for a column's width, under the end of its file's name."""
    series: tuple[Series, ...] = ()
    """What a page lets its readers switch and point at."""


@dataclass(frozen=True, kw_only=True)
class Equation:
    formula: str


@dataclass(frozen=True, kw_only=True)
class Listing:
    """Commands, a line each."""

    lines: tuple[str, ...]


Block = str | Table | Drawing | Equation | Listing
"""A paragraph of prose, or something that stands on its own."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Chapter:
    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True, kw_only=True)
class Source:
    """A work that the report rests on."""

    key: str
    authors: tuple[str, ...]
    """Last names; `others` for those not named."""
    title: str
    where: str
    year: int

    @property
    def by(self) -> str:
        """The authors in prose: `Hoffmann et al.`, `Schwethelm, Rueckert and Kaissis`."""
        *first, last = self.authors
        return f"{', '.join(first)} {'et al.' if last == 'others' else f'and {last}'}"


@dataclass(frozen=True, kw_only=True)
class Answers:
    """What the law of one model advises, budget for budget."""

    model: str
    parameters: float
    """Stored ones, which a loop shares."""
    predictions: tuple[Prediction, ...]


Calculator = Callable[[], Sequence[Answers]]
"""Called by the format that shows it, for it takes a while."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Document:
    title: str
    sweep: str
    date: str
    """Of the last result; empty where it is not known."""
    question: str
    abstract: tuple[str, ...]
    """What was found, how sure that is, what was not shown."""
    first_page: tuple[Block, ...]
    chapters: tuple[Chapter, ...]
    sources: tuple[Source, ...]
    runs: Table
    """Every run: its id, and what became of it. For a page, which can be searched."""
    calculator: Calculator
    """The answers for other budgets. For a page too."""

    def blocks(self) -> Iterator[Block]:
        yield from self.first_page
        for chapter in self.chapters:
            yield from chapter.blocks

    @property
    def drawings(self) -> Sequence[Drawing]:
        return [block for block in self.blocks() if isinstance(block, Drawing)]

    @property
    def tables(self) -> Sequence[Table]:
        return [block for block in self.blocks() if isinstance(block, Table)]
