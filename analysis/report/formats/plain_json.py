"""The report as JSON: the same prose, and every table's cells as text and as numbers."""

import math
from typing import Any

from analysis.report.content.document import Block, Cell, Document, Drawing, Equation, Listing
from analysis.report.mathematics import bare


def plain_document(document: Document) -> dict[str, Any]:
    """Keys are a promise to scripts: add, never rename. A number that is missing is None."""
    return {
        "title": bare(document.title),
        "sweep": document.sweep,
        "date": document.date or None,
        "question": bare(document.question),
        "abstract": [bare(sentence) for sentence in document.abstract],
        "first_page": [_block(block) for block in document.first_page],
        "chapters": [
            {"title": bare(chapter.title), "blocks": [_block(block) for block in chapter.blocks]}
            for chapter in document.chapters
        ],
        "sources": [
            {"key": s.key, "authors": list(s.authors), "title": s.title, "where": s.where, "year": s.year}
            for s in document.sources
        ],
    }


def _block(block: Block) -> dict[str, Any]:
    if isinstance(block, str):
        return {"kind": "text", "text": bare(block)}
    if isinstance(block, Equation):
        return {"kind": "equation", "formula": block.formula}
    if isinstance(block, Listing):
        return {"kind": "commands", "lines": list(block.lines)}
    if isinstance(block, Drawing):
        return {"kind": "figure", "name": block.name, "caption": bare(block.caption)}
    return {
        "kind": "table",
        "name": block.name,
        "caption": bare(block.caption),
        "columns": [bare(column) for column in block.columns],
        "rows": [[_cell(cell) for cell in row] for row in block.rows],
    }


def _cell(cell: Cell) -> Any:
    if isinstance(cell, str):
        return bare(cell)
    values = {"value": cell.value, "low": cell.low, "high": cell.high}
    return {"text": bare(cell.text), **{name: v if math.isfinite(v) else None for name, v in values.items()}}
