"""A first recipe for data and a model that somebody has: `edgeopt init`. `propose.py` puts it together."""
