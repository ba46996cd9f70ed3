"""The last chapter: everything needed to do it again, and the works it rests on."""

import platform
from importlib.metadata import PackageNotFoundError, version

from analysis.report.content.document import Block, Cell, Chapter, Listing, Source, Table
from analysis.report.content.numbers import listed
from analysis.report.fitted_study import FittedStudy
from sweeps.folders.paths import PUBLISHED

PACKAGES = ("parcae-lab", "numpy", "scipy", "pandas", "matplotlib", "duckdb", "typst")
SOURCES = (
    Source(
        key="parcae",
        authors=("Prairie", "Novack", "Berg-Kirkpatrick", "Fu"),
        title="Parcae: Scaling Laws For Stable Looped Language Models",
        where="arXiv:2604.12946",
        year=2026,
    ),
    Source(
        key="hoffmann",
        authors=("Hoffmann", "others"),
        title="Training Compute-Optimal Large Language Models",
        where="arXiv:2203.15556",
        year=2022,
    ),
    Source(
        key="czech",
        authors=("Czech", "others"),
        title="Problems with Chinchilla Approach 2: Systematic Biases in IsoFLOP Parabola Fits",
        where="arXiv:2603.22339",
        year=2026,
    ),
    Source(
        key="schwethelm",
        authors=("Schwethelm", "Rueckert", "Kaissis"),
        title="How Much Is One Recurrence Worth? Iso-Depth Scaling Laws for Looped Language Models",
        where="arXiv:2604.21106",
        year=2026,
    ),
)


def again_chapter(findings: FittedStudy, unanswered: tuple[str, ...]) -> Chapter:
    study = findings.study
    conventions = sorted({c for found in findings.models.values() for c in found.points.conventions})
    rows: list[tuple[Cell, ...]] = [
        ("sweep", f"{study.name} ({'built in' if study.name == PUBLISHED else study.kind})"),
        (
            "runs",
            f"{study.runs} in the sweep, {study.used} fitted, {len(study.curves)} with test-time curves",
        ),
        *((f"left out: {reason}", str(count)) for reason, count in study.left_out.items()),
        ("FLOP convention", listed(conventions) if conventions else "not recorded"),
        ("hash of the text", listed(study.corpus_hashes) if study.corpus_hashes else "not recorded"),
        ("SHA-256 of the data", f"`{study.data_hash[:32]}` `{study.data_hash[32:]}`"),
        (
            "software",
            f"Python {platform.python_version()}, "
            + ", ".join(f"{name} {_version(name)}" for name in PACKAGES),
        ),
    ]
    blocks: list[Block] = []
    if unanswered:
        blocks.append(f"The data do not answer: {'; '.join(unanswered)}.")
    blocks += [
        "Every number above comes from the database and these commands; all random numbers are seeded, so "
        "that the same data give the same report.",
        Listing(
            lines=(
                f"parcae-fit report --sweep {study.name}",
                f"parcae-fit report --sweep {study.name} --figures figures --format json",
                f"parcae-fit isoflop --sweep {study.name}",
                f"parcae-fit training-law --sweep {study.name} --json",
            )
        ),
        Table(name="provenance", columns=("", ""), rows=tuple(rows), caption="Where the numbers come from."),
    ]
    return Chapter(title="To do this again", blocks=tuple(blocks))


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:  # run from a source tree that was never installed
        return "not installed"
