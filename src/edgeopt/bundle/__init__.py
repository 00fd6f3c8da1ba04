"""Bundles: everything that serves a run's model, in one folder or zip.

It says what it is, and cannot be changed unseen.
"""
