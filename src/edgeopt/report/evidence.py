"""What a reader should know of the evidence, whether a run measured it or `gate` did: both say the same."""

from __future__ import annotations
