"""What of a run goes into report.json, in words and figures."""
