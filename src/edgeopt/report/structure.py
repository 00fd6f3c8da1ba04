"""What structured pruning left of the candidate: a table, and a map of its layers."""

from __future__ import annotations

from markupsafe import Markup

from edgeopt.report import format as fmt
from edgeopt.report import headline, svg
from edgeopt.report.scatter import WIDTH
from edgeopt.report.svg import Box
from edgeopt.report.table import Column, Table
from edgeopt.results.model import Report

ROW = 24
#: Left and right ends of the heads' cells and of the feed-forward's bar.
HEADS, NEURONS = (64, 204), (256, 368)


def table(report: Report) -> Table:
    """Weights and multiply-accumulates of the layers, dense and pruned, what they promise and what was measured.

    And the bytes of the weights when compressed, which zeros bring down too. No rows where nothing was pruned.
    """
    columns = [Column("Measure"), Column("Dense", "number"), Column("Pruned", "number"), Column("Change")]
    shape, rows = headline.last_figure(report, lambda told: told.get("structure")), []
    if shape:
        left = sum(1 for h, n in zip(shape["heads"], shape["neurons"], strict=True) if h or n)
        rows = [
            [
                "layers with heads or neurons",
                str(shape["dense"]["layers"]),
                str(left),
                fmt.shrink(shape["dense"]["layers"], left, ("fewer", "more")),
            ],
            _counts("heads", shape["dense"]["layers"] * shape["dense"]["heads"], sum(shape["heads"])),
            _counts("neurons", shape["dense"]["layers"] * shape["dense"]["neurons"], sum(shape["neurons"])),
            _counts("weights of the layers", shape["dense_weights"], shape["weights"]),
            _counts(
                f"multiply-accumulates of the layers, {shape['macs_tokens']} tokens", shape["dense_macs"], shape["macs"]
            ),
        ]
        if shape["hidden"] != shape["dense"]["hidden"]:
            rows.insert(1, _counts("hidden dimensions", shape["dense"]["hidden"], shape["hidden"]))
        asked = headline.last_figure(report, lambda told: told.get("asked_sparsity"))
        if asked:
            rows.append(
                [
                    "sparsity requested and reached",
                    fmt.ABSENT,
                    fmt.share(asked["got"]),
                    f"of {fmt.share(asked['asked'])}",
                ]
            )
        multiple = headline.last_figure(report, lambda told: told.get("multiple"))
        if multiple:
            rows.append(["sizes are rounded to multiples of", fmt.ABSENT, str(multiple), fmt.ABSENT])
        promised = shape["promised_speedup"]
        rows.append(
            [
                "speed that these MACs promise",
                fmt.ABSENT,
                fmt.ABSENT,
                fmt.ABSENT if promised is None else f"{fmt.ratio(promised)} as fast",
            ]
        )
        place = headline.main_place(report)
        found = headline.speedup(report, place) if place else None
        if found:
            rows.append(
                [
                    f"speed measured, all steps together: p50, {place}",
                    fmt.ABSENT,
                    fmt.ABSENT,
                    f"{fmt.ratio(found.ratio)} as fast",
                ]
            )
    compressed = headline.last_figure(report, lambda told: told.get("compressed_bytes"))
    if compressed:
        whole = next(
            s.size_bytes
            for s in report.steps
            if s.chain == "candidate" and s.told.get("compressed_bytes") == compressed
        )
        rows.append(
            [
                "float weights, compressed by zlib",
                fmt.ABSENT,
                fmt.megabytes(compressed),
                f"{fmt.percent(compressed / whole)} of {fmt.megabytes(whole)}",
            ]
        )
    return Table(columns, rows)


def _counts(name: str, before: int, after: int) -> list[str]:
    return [name, fmt.count(before), fmt.count(after), fmt.shrink(before, after, ("fewer", "more"))]


def picture(report: Report) -> Markup | None:
    """Each layer of the dense model on a line: a cell a head, a bar for the neurons; pale is gone.

    None where no step cut anything.
    """
    shape = headline.last_figure(report, lambda told: told.get("structure"))
    if not shape:
        return None
    heads, neurons = shape["dense"]["heads"], shape["dense"]["neurons"]
    parts = [svg.text(HEADS[0], 13, "attention heads", "tick"), svg.text(NEURONS[0], 13, "neurons", "tick")]
    described = []
    for layer, (kept, count) in enumerate(zip(shape["head_numbers"], shape["neurons"], strict=True)):
        top = 22 + layer * ROW
        parts += [svg.text(0, top + 14, f"layer {layer}", "tick"), *_cells(set(kept), heads, top)]
        parts.append(svg.text(NEURONS[0] - 10, top + 14, str(len(kept)), "value", "end"))
        parts.append(svg.bar(Box(NEURONS[0], top + 3, NEURONS[1], top + 17), "track"))
        if count:
            width = (NEURONS[1] - NEURONS[0]) * count / neurons
            parts.append(svg.bar(Box(NEURONS[0], top + 3, NEURONS[0] + width, top + 17), "bar candidate"))
        parts.append(svg.text(WIDTH, top + 14, f"{count:,}", "value", "end"))
        described.append(f"layer {layer}: {len(kept)} of {heads} heads, {count} of {neurons} neurons")
    return Markup(
        svg.picture(WIDTH, 22 + len(described) * ROW, "what is left of each layer: " + "; ".join(described), parts)
    )


def _cells(kept: set[int], heads: int, top: float) -> list[str]:
    step = (HEADS[1] - HEADS[0]) / heads
    gap = min(3.0, step / 4)
    return [
        svg.bar(
            Box(HEADS[0] + i * step, top + 3, HEADS[0] + (i + 1) * step - gap, top + 17),
            "bar candidate" if i in kept else "track",
        )
        for i in range(heads)
    ]
