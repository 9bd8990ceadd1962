"""The morning report: report.html and report.md, from the records alone."""
