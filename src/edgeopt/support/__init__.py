"""What everything else stands on: errors, this machine, progress, files that appear whole or not at all.

Knows nothing of recipes.
"""
