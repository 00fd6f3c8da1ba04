"""The one report.json and its renderings."""
