"""edgeopt: declarative optimization of transformer encoders for CPUs, phones and browsers."""

from edgeopt.support.telemetry import switch_off

__version__ = "0.1.0"

switch_off()
