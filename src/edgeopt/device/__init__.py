"""What runs where edgeopt is not: files copied into bundles, which import the standard library and the runtime alone."""
