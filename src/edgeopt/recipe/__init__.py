"""Recipes: read, checked, overridden. Nothing here imports torch or computes anything.

Import from `edgeopt.recipe.load`: this package imports none of its modules, because transforms need
`edgeopt.spec.recipe` and `load` needs the transforms.
"""
