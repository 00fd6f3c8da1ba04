"""What a reader should know of how latency was measured."""

from __future__ import annotations
