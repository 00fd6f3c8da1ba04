"""Bundles: everything that serves a run's model, in one folder or zip that says what it is and cannot be changed
unseen.
"""
