"""A finished run told to an experiment tracker: MLflow or Weights & Biases, each by its own client.

A tracker is a file with a class of `Tracker`, and a line in `tracking.TRACKERS`.
"""
