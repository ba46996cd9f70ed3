"""What a report can be written as."""

from enum import StrEnum


class ReportFormat(StrEnum):
    """What a report is written as."""

    PDF = "pdf"
    HTML = "html"
    MARKDOWN = "md"
    LATEX = "tex"
    JSON = "json"
