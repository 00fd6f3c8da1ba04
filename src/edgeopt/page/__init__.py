"""A static page on which a run's model answers in the browser."""
