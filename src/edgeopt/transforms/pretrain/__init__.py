"""Trainings on plain text."""
