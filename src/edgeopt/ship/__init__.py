"""Ships: a bundle copied to a device, proven there, and made current."""
