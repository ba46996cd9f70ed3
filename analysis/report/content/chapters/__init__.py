"""A file for each chapter: text, figures and tables on one question, or a sentence on what the data lack."""
