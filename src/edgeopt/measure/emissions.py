"""Energy and CO2eq of what runs between two moments, counted or estimated by CodeCarbon, without the network.

What a step took goes into its state's figures, beside its seconds, and not into digest or key.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from edgeopt.results.figures import Emitted, Told
from edgeopt.spec.recipe import EmissionsSpec

if TYPE_CHECKING:
    from codecarbon import OfflineEmissionsTracker

log = logging.getLogger("edgeopt")

PACKAGE, COUNTRY = "codecarbon", "EDGEOPT_COUNTRY"
#: CodeCarbon's ways to read a counter of the processor, and what they are called.
_COUNTERS = {"intel_rapl": "RAPL", "intel_power_gadget": "Power Gadget", "windows_emi": "the Energy Meter Interface"}


@dataclass(frozen=True)
class Energy:
    """What was used between two moments.

    kwh: of processors, GPUs and memory together. co2eq_g: grams. estimated: whether a part that computes has no
    counter. how: where each part's figure is from.
    """

    seconds: float
    kwh: float
    co2eq_g: float
    country: str
    estimated: bool
    how: str
    parts_kwh: dict[str, float]

    @property
    def watts(self) -> float:
        return self.kwh * 3.6e6 / self.seconds


def country_of(spec: EmissionsSpec) -> str:
    """Three letters of ISO 3166: the recipe's, else EDGEOPT_COUNTRY; empty where neither says."""
    return spec.country or os.environ.get(COUNTRY, "")


@contextmanager
def metering(country: str | None) -> Iterator[list[Energy]]:
    """Measure what the block uses, this process and those it starts. country: None to measure nothing.

    It is in the list afterwards; the list stays empty where CodeCarbon gave no figure, which the log says. A counter
    counts the whole machine. Nothing is written and nothing sent.
    """
    used: list[Energy] = []
    if country is None:
        yield used
        return
    tracker = open_tracker(country)
    tracker.start()
    started = time.monotonic()
    try:
        yield used
    finally:
        seconds = time.monotonic() - started
        tracker.stop()
        found = getattr(tracker, "final_emissions_data", None)
        if found is None:
            log.warning("CodeCarbon gave no figures of energy")
        else:
            parts = {name: float(getattr(found, f"{name}_energy")) for name in ("cpu", "gpu", "ram")}
            kwh, grams = float(found.energy_consumed), float(found.emissions) * 1000
            used.append(Energy(seconds, kwh, grams, country, *sources(tracker), parts))


def figures_of(used: list[Energy]) -> Told:
    """What a state keeps of the energy that its step used, among its figures."""
    return {"emissions": cast(Emitted, vars(used[0]))} if used else {}


def open_tracker(country: str) -> OfflineEmissionsTracker:
    """CodeCarbon's tracker of this process.

    Its settings of the machine, such as CODECARBON_FORCE_CPU_POWER, count; those that would write, send or ask the
    network do not.
    """
    from codecarbon import OfflineEmissionsTracker

    logging.getLogger(PACKAGE).setLevel(logging.CRITICAL)
    return OfflineEmissionsTracker(
        country_iso_code=country,
        tracking_mode="process",
        output_methods=[],
        allow_multiple_runs=True,
        emissions_endpoint=None,
        electricitymaps_api_token="",
        cloud_provider=None,
        cloud_region=None,
        region=None,
        log_level="critical",
    )


def sources(tracker: OfflineEmissionsTracker) -> tuple[bool, str]:
    """Whether anything that computes is estimated, and in words where each part's figure is from."""
    estimated, words = False, []
    for part in getattr(tracker, "_hardware", []):
        kind, mode = type(part).__name__, getattr(part, "_mode", "")
        if kind == "CPU" and mode in _COUNTERS:
            words.append(f"processors by {_COUNTERS[mode]}, of the whole machine")
        elif kind == "CPU" and mode == "cpu_load":
            estimated = True
            words.append(
                f"processors estimated: {part._tdp:g} W at full load ({_source(part, tracker)}), "
                "by the share of their time that was used"
            )
        elif kind == "CPU":
            estimated = True
            words.append(f"processors estimated: half of {part._tdp:g} W ({_source(part, tracker)}), whatever they do")
        elif kind == "GPU":
            words.append("GPUs by their counters, of the whole machine")
        elif kind == "RAM":
            forced = getattr(part, "_force_ram_power", None)
            words.append(
                f"memory {forced:g} W, as CODECARBON_FORCE_RAM_POWER says"
                if forced is not None
                else "memory a constant of CodeCarbon's: so many watts a module, "
                "whose number it guesses from the size, whatever the memory does"
            )
        else:  # Apple's and Raspberry Pi's own meters
            words.append(f"{getattr(part, 'chip_part', kind)} by the chip's own meter")
    return estimated, "; ".join(sorted(words, reverse=True))


def _source(part: object, tracker: OfflineEmissionsTracker) -> str:
    """Where the watts of a processor without a counter are from."""
    if getattr(tracker, "_force_cpu_power", None) is not None:
        return "as CODECARBON_FORCE_CPU_POWER says"
    if getattr(part, "_is_generic_tdp", False):
        return "CodeCarbon's constant for one that it does not know"
    known = _in_table()
    if known is None:
        return "by CodeCarbon"
    return (
        "by CodeCarbon's table of processors"
        if known
        else "CodeCarbon's fallback, so many watts a thread, as its table lacks this processor"
    )


def _in_table() -> bool | None:
    """Whether CodeCarbon's table has this processor; None where a version of it does not say."""
    with suppress(Exception):
        from codecarbon.core import cpu
        from codecarbon.core.hardware_cache import get_cached_tdp

        found = get_cached_tdp(cpu)
        return found._get_cpu_power_from_registry(found.model) is not None
    return None
