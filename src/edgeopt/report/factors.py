"""What cutting and what int8 bring, where a candidate has both."""

from __future__ import annotations

from edgeopt.report import format as fmt
from edgeopt.report import headline
from edgeopt.report.table import Table, numbers
from edgeopt.results.model import Report, Speedup

NOTE = (
    "Ratios of p50, with all three files timed in the same rounds. The first is the dense FP32 baseline over the "
    "pruned model before quantization. The second is that model over its int8 file. Then comes the product of both. "
    "The speed that the remaining multiply-accumulates promise is for the layers only, at 128 tokens."
)


def table(report: Report) -> Table:
    """A line a place; empty where the candidate is not both cut and quantized."""
    rows = []
    for place in headline.places(report):
        cut = headline.speedup(report, place, of="candidate-fp32")
        int8 = headline.speedup(report, place, against="candidate-fp32")
        both = headline.speedup(report, place)
        if cut and int8 and both:
            rows.append(
                [
                    str(place),
                    _promised(report),
                    _shown(cut),
                    _shown(int8),
                    fmt.ratio(cut.ratio * int8.ratio),
                    _shown(both),
                ]
            )
    return Table(
        numbers("Place", "Promised by MACs", "Cut, FP32", "int8 of that", "Product", "Measured together"), rows
    )


def _promised(report: Report) -> str:
    structure = headline.last_figure(report, lambda told: told.get("structure"))
    promised = structure["promised_speedup"] if structure else None
    return fmt.ratio(promised) if promised else fmt.ABSENT


def _shown(entry: Speedup) -> str:
    return f"{fmt.ratio(entry.ratio)} ({fmt.interval(entry.low, entry.high, fmt.ratio)})"
