"""edgeopt: declarative optimisation of transformer encoders for CPUs, phones and browsers."""

__version__ = "0.1.0"
