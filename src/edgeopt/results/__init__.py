"""What is measured and kept: the records of report.json, and the files of a run folder."""
