"""The report's content in each format: Typst (for the PDF), Markdown, LaTeX and JSON."""
