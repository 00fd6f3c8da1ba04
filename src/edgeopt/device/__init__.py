"""What runs where edgeopt is not: files copied into bundles.

They import the standard library and the runtime alone.
"""
