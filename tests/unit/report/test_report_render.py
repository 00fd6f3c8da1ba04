"""The renderings of report.json: that they show what it holds, and nothing it holds becomes markup."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from typing import Any

import pytest
from report_sample import TARGET, gates, latency, sample_report, speedup, step

from edgeopt.cli.summary import show_summary
from edgeopt.report import charts, tables
from edgeopt.report import format as fmt
from edgeopt.report.card import render_card
from edgeopt.report.gate_text import in_terminal, title
from edgeopt.report.html import render_html
from edgeopt.report.markdown import render_markdown
from edgeopt.report.markdown_text import table
from edgeopt.report.table import Column, Table
from edgeopt.results.model import Export, OptimizedGraph, Report, SessionChoice, Slice, Slices, Starts, Task

FIGURES = ["0.8407", "0.8382", "−0.25 points", "[−1.47, +0.98]", "90.9 MB", "23.0 MB", "3.95× smaller", "17.26 M"]
TIMES = ["21.4 ms", "8.52 ms", "9.11 ms", "24.9 ms", "2.52× as fast", "[2.47×, 2.56×]"]
HOSTILE = "<script>alert(1)</script> | `x` & more"


class Balanced(HTMLParser):
    """Fails on a tag closed out of order, and keeps the text and every address."""

    VOID = frozenset({"meta", "br", "link", "img", "hr"})

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.addresses: list[str] = []
        self.words: list[str] = []
        self.count: dict[str, int] = {}
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.count[tag] = self.count.get(tag, 0) + 1
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href", "srcset", "action")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return "\n".join(self.words)


def regression() -> Report:
    task = Task(type="text-regression", dataset="data/sts", split="test", rows=1379, labels=[], max_length=96)
    before, after = sample_report().baseline, sample_report().candidate
    changes = {"metrics": {"mse": 0.31}, "extra": {}}, {"metrics": {"mse": 0.33}, "extra": {}}
    subjects = before.model_copy(update=changes[0]), after.model_copy(update=changes[1])
    differences = [{"metric": "mse", "delta": 0.02, "low": -0.01, "high": 0.05}]
    return sample_report(
        task=task, model="./models/mine", baseline=subjects[0], candidate=subjects[1], differences=differences, gates=[]
    )


def code(card: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", card, re.DOTALL)


@pytest.mark.parametrize("render", [render_markdown, render_html])
def test_every_figure_and_gate_is_shown(render: Any) -> None:
    page = render(sample_report())
    for expected in [*FIGURES, *TIMES, "drop ≤ 2.00 points", "≤ 1.47 points at 95 %", "speed-up ≥ 2.00×", "≥ 2.47×"]:
        assert expected in page
    for gate in gates():
        assert gate.metric in page and gate.reason in page
    for expected in ["3.51× as fast", "quantize.static", "23.5 %", "6 min 53 s", "3.10e-06", "avx512_vnni"]:
        assert expected in page
    assert "400 queries are too few" in page


def test_markdown_begins_with_the_verdict_and_its_tables_are_aligned() -> None:
    lines = render_markdown(sample_report()).splitlines()
    assert lines[0] == "# PASS: mrpc-minilm-int8"
    assert lines[2] == "3 of 3 gates passed."
    start = next(i for i, line in enumerate(lines) if line.startswith("|"))
    block = [line for line in lines[start : start + 14] if line.startswith("|")]
    assert len({len(line) for line in block}) == 1


def test_null_p99_is_a_dash() -> None:
    page = render_markdown(sample_report())
    row = next(line for line in page.splitlines() if line.startswith(f"| p99, {TARGET}, 128"))
    assert [cell.strip() for cell in row.strip("|").split("|")][1:] == ["24.9 ms", "–", "–", "–"]


@pytest.mark.parametrize("render", [render_markdown, render_html])
def test_without_gates(render: Any) -> None:
    page = render(sample_report(gates=[]))
    assert "No gates" in page
    assert "Gates</h2>" not in page and "## Gates" not in page


def test_failed_and_inconclusive_gates_are_named_before_the_figures() -> None:
    drop, speed, size = gates()
    slow = speed.model_copy(update={"verdict": "fail", "value": 1.7, "low": 1.6, "reason": "too slow by 0.30×"})
    open_ = drop.model_copy(update={"verdict": "inconclusive", "value": None, "high": None, "reason": "too few rows"})
    page = Balanced(render_html(sample_report(verdict="fail", gates=[open_, slow, size]))).text
    assert "1 of 3 gates passed." in page
    for reason in ("too slow by 0.30×", "too few rows"):
        assert page.index(reason) < page.index("0.8407")


@pytest.mark.parametrize("report", [sample_report(), regression(), sample_report(latency=[], speedups=[], steps=[])])
def test_html_is_balanced_and_loads_nothing(report: Report) -> None:
    page = render_html(report)
    parsed = Balanced(page)
    assert parsed.addresses == []
    assert not re.search(r"https?://|url\(|@import|<script|<link", page)
    assert "prefers-color-scheme: dark" in page and "width=device-width" in page


def test_pictures_have_a_name_and_a_place_for_every_subject() -> None:
    page = render_html(sample_report())
    parsed = Balanced(page)
    assert parsed.count["svg"] == 2 and parsed.count["circle"] == 3
    assert len(re.findall(r'<svg [^>]*role="img" aria-label="[^"]+"><title>', page)) == 2
    assert {"baseline, torch", "int8", "adapt"} <= set(parsed.words)


def test_captions_of_the_picture_do_not_cover_each_other() -> None:
    close = [latency("candidate", 8.5, 9, None), latency("baseline", 8.6, 9, None), latency("baseline-torch", 9, 9, 9)]
    picture = charts.tradeoff(sample_report(latency=close, speedups=[speedup("baseline", 1.01, 0.9, 1.1)]))
    assert picture is not None
    tops = re.findall(r'<text x="([\d.]+)" y="([\d.]+)" class="name', picture)
    assert len(tops) == 3
    for x, y in tops:
        others = [(float(a), float(b)) for a, b in tops if (a, b) != (x, y)]
        assert all(abs(float(x) - a) > 100 or abs(float(y) - b) >= 33 for a, b in others)


def test_no_picture_of_what_was_not_measured() -> None:
    report = sample_report(latency=[], speedups=[])
    assert charts.tradeoff(report) is None
    assert Balanced(render_html(report)).count["svg"] == 1


def test_markup_in_names_stays_text() -> None:
    sample = sample_report()
    report = sample_report(
        recipe=sample.recipe.model_copy(update={"name": HOSTILE}),
        notes=[HOSTILE],
        steps=[sample.steps[-1].model_copy(update={"id": HOSTILE})],
        gates=[gates()[0].model_copy(update={"reason": HOSTILE})],
        task=sample.task.model_copy(update={"labels": [HOSTILE, '"\n---\n']}),
    )
    page = render_html(report)
    assert "<script" not in page
    assert Balanced(page).text.count("<script>alert(1)</script>") >= 4
    markdown = render_markdown(report)
    assert "<script" not in markdown and "\\| \\`x\\`" in markdown
    widths = {
        len(re.findall(r"(?<!\\)\|", line)) for line in markdown.splitlines() if "alert" in line and line[0] == "|"
    }
    assert widths == {7, 9, 3}


@pytest.mark.parametrize("pair", [True, False])
@pytest.mark.parametrize("quantized", [True, False])
@pytest.mark.parametrize("report", [sample_report(), regression()])
def test_card_holds_the_figures_and_code_that_parses(report: Report, pair: bool, quantized: bool) -> None:
    card = render_card(report, pair=pair, quantized=quantized)
    name = "model_quantized.onnx" if quantized else "model.onnx"
    for expected in [f'file = "onnx/{name}"', f'file_name="{name}"', "23.0 MB", "quantize.static", "2.52× as fast"]:
        assert expected in card
    snippets = code(card, "python")
    assert len(snippets) == 2
    for snippet in snippets:
        compile(snippet, "card", "exec")
        assert ("A second text." in snippet) == pair
    assert f"max_length={report.task.max_length}" in snippets[0]
    (script,) = code(card, "js")
    assert f"dtype: '{'q8' if quantized else 'fp32'}'" in script
    # The pipeline reads one text and makes shares of logits: not for pairs, not for a number.
    assert ("pipeline(" in script) == (not pair and report.task.type != "text-regression")


def test_card_of_a_regression_prints_the_number() -> None:
    card = render_card(regression(), pair=True, quantized=False)
    assert "argmax" not in card and "id2label" not in card
    assert "print(float(logits[0]))" in card
    assert "+0.0200" in card and "points |" not in card


def test_card_front_matter() -> None:
    front = render_card(sample_report(), pair=True, quantized=True).split("---\n")[1]
    fields = {key: json.loads(value) for key, value in (line.split(": ", 1) for line in front.splitlines())}
    assert fields["library_name"] == "onnx"
    assert fields["base_model"] == "sentence-transformers/all-MiniLM-L6-v2"
    assert fields["datasets"] == ["nyu-mll/glue"]
    assert {"edgeopt", "text-classification", "int8"} <= set(fields["tags"])
    assert "base_model" not in render_card(regression(), pair=True, quantized=True)


def test_only_folders_in_its_layout_are_tagged_transformers_js() -> None:
    def tagged(format: str) -> bool:
        sample = sample_report()
        kept = Export(
            name=format,
            format=format,
            runtime="onnxruntime",
            subject="candidate",
            made_of="graph",
            lengths=None,
            figures=sample.candidate,
            max_abs_diff=0.0,
            verdict="pass",
        )
        card = render_card(sample.model_copy(update={"exports": [kept]}), pair=True, quantized=True)
        return '"transformers.js"' in card

    assert [tagged(name) for name in ("onnx", "transformers-js", "ort", "flat")] == [True, True, False, False]


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (fmt.significant(0), "0"),
        (fmt.significant(0.0123456), "0.0123"),
        (fmt.significant(12345.6), "12,346"),
        (fmt.significant(-1.234), "−1.23"),
        (fmt.shrink(10, 20), "2.00× larger"),
        (fmt.shrink(10, 0), "–"),
        (fmt.interval(None, 2, fmt.ratio), "≤ 2.00×"),
        (fmt.interval(None, None, fmt.ratio), "–"),
        (fmt.duration(3725), "1 h 02 min"),
        (fmt.duration(59.99), "60 s"),
        (fmt.count(999_999), "999,999"),
        (fmt.points("mse", -0.5), "−0.5000"),
    ],
)
def test_numbers(written: str, expected: str) -> None:
    assert written == expected


def test_session_options_and_starts_are_shown_and_a_run_without_them_is_too() -> None:
    plain = sample_report()
    assert {"Session options", "Start-up"}.isdisjoint(section.heading for section in tables.details(plain))
    starts = Starts(ms=[50.0, 52.0, 49.0], peak_bytes=[90_000_000, 91_000_000, 90_000_000])
    slower = Starts(ms=[100.0, 104.0, 98.0], peak_bytes=[180_000_000] * 3)
    options = {
        "intra_op_num_threads": 2,
        "session.force_spinning_stop": "1",
        "disabled_optimizers": ["SkipLayerNormFusion"],
        "enable_cpu_mem_arena": False,
    }
    report = plain.model_copy(
        update={
            "baseline": plain.baseline.model_copy(update={"starts": slower}),
            "candidate": plain.candidate.model_copy(update={"starts": starts}),
            "optimized": OptimizedGraph(artifact="model/onnx/model_optimized.onnx", size_bytes=1, starts=starts),
            "sessions": [
                SessionChoice(subject="baseline", target="t", options={"intra_op_num_threads": 1}),
                SessionChoice(subject="candidate", target="t", options=options, ratio=1.2, low=1.1, high=1.3),
            ],
        }
    )
    sections = {section.heading: section for section in tables.details(report)}
    assert sections["Session options"].table.rows == [
        ["baseline", "t", "1 thread", "default kept", "–"],
        [
            "candidate",
            "t",
            "2 threads, without SkipLayerNormFusion, no memory arena",
            "1.20× as fast",
            "[1.10×, 1.30×]",
        ],
    ]
    assert [row[0] for row in sections["Start-up"].table.rows] == [
        report.baseline.artifact,
        report.candidate.artifact,
        "model/onnx/model_optimized.onnx",
    ]
    assert sections["Start-up"].table.rows[1][1:] == [
        "50.0 ms",
        "[49.0 ms, 52.0 ms]",
        "90.0 MB",
        "[90.0 MB, 91.0 MB]",
        "3",
    ]
    assert "is only for the processor" in sections["Start-up"].note
    cold = next(row for row in tables.figures(report).rows if row[0] == "cold start")
    assert cold[4] == "[2.00×, 2.00×]"  # in each round one took twice as long as the other
    card = render_card(report, pair=False, quantized=True)
    assert "`onnx/model_optimized.onnx` is the same graph" in card and "model_optimized" not in render_card(
        plain, pair=False, quantized=True
    )


def test_exports_are_points_with_their_bounds_and_the_beaten_ones_are_hollow() -> None:
    sample = sample_report()
    made = [
        Export(
            name=name,
            format=name,
            runtime=name,
            subject=subject,
            made_of="graph",
            lengths=None,
            max_abs_diff=0.0,
            verdict="pass",
            figures=sample.candidate.model_copy(update={"metrics": {"accuracy": accuracy, "f1": 0.8}}),
        )
        for name, subject, accuracy in (("onnx", "candidate", 0.8382), ("openvino", "openvino", 0.83))
    ]
    faster = speedup("baseline", 2.0, 1.9, 2.1).model_copy(update={"of": "openvino"})
    report = sample_report(
        exports=made,
        latency=[*sample.latency, latency("openvino", 10.7, 12, None)],
        speedups=[*sample.speedups, faster],
    )
    picture = charts.tradeoff(report)
    assert picture is not None and "openvino: 0.8300, 10.7 ms" in picture
    kinds = re.findall(r'<circle [^>]*class="mark ([^"]+)"', picture)
    # candidate and ONNX baseline are each better than the other in one; torch is slower than the baseline and as good
    assert sorted(kinds) == ["baseline", "baseline-torch beaten", "candidate", "other beaten"]
    assert len(re.findall(r'<line [^>]*class="mark other beaten"', picture)) == 1  # its latency alone has bounds


def test_sizes_are_a_waterfall_with_what_was_measured_at_its_ends() -> None:
    sample = sample_report()
    selected = step(
        "adapt",
        "adapter.lora",
        "candidate",
        1.0,
        96_214_880,
        selection={"metric": "accuracy", "value": 0.8413, "step": 3},
    )
    picture = charts.sizes(sample_report(steps=[selected, *sample.steps[2:]]))
    for expected in (
        "accuracy 0.8407, 21.4 ms",
        "accuracy 0.8382, 8.52 ms",
        "adapter.lora, accuracy 0.8413 held out",
        "−67.9 MB → 23.0 MB",
    ):
        assert expected in picture
    assert picture.count('class="bar gone"') == 2  # merge and int8


def test_long_lists_are_folded_and_the_card_has_gates_and_few_slices() -> None:
    cut = [Slice(grouping="length", name=f"{i}", rows=5) for i in range(13)]
    for count in (12, 13):
        report = sample_report(slices=Slices(metric="accuracy", smallest=20, slices=cut[:count]))
        assert Balanced(render_html(report)).count.get("details", 0) == (count > 12)
        card = render_card(report, pair=True, quantized=True)
        assert ("Slice by" in card) == (count <= 12) and "speed-up ≥ 2.00×" in card and "≥ 2.47× at 95 %" in card


@pytest.mark.parametrize("odd", [float("inf"), float("nan")])
def test_figures_that_are_no_numbers_are_written_and_not_drawn(odd: float) -> None:
    """Too few samples leave a bound open, and a broken model has metrics that are none: no report is lost for that."""
    report = sample_report()
    metrics = {**report.candidate.metrics, "accuracy": odd} if odd != odd else report.candidate.metrics
    changed = report.model_copy(
        update={
            "candidate": report.candidate.model_copy(update={"metrics": metrics}),
            "speedups": [s.model_copy(update={"low": 0.0, "high": float("inf")}) for s in report.speedups],
            "differences": [d.model_copy(update={"low": -odd, "high": odd}) for d in report.differences],
            "gates": [g.model_copy(update={"low": -odd, "high": odd}) for g in report.gates],
        }
    )
    word = "∞" if odd == float("inf") else "not a number"
    assert (
        word in render_markdown(changed)
        and word in render_html(changed)
        and render_card(changed, pair=False, quantized=True)
    )
    assert "inf" not in "".join(re.findall(r'(?:x|y|x1|x2|y1|y2|cx|cy|width|height)="([^"]*)"', render_html(changed)))


def test_rows_that_stand_in_train_are_said_wherever_the_verdict_is(capsys: pytest.CaptureFixture[str]) -> None:
    task = sample_report().task
    remark = "5 validation rows that stand in train"
    leaked = sample_report(task=task.model_copy(update={"leaked": 3, "remarks": [remark]}))
    said = f"3 of the {task.rows:,} rows are also in train."
    card = render_card(leaked, pair=False, quantized=True)
    assert said in render_markdown(leaked) and said in render_html(leaked) and said in card and remark in card
    show_summary(leaked)
    assert "3 of them in train too" in " ".join(capsys.readouterr().out.split())
    clean = sample_report(task=task.model_copy(update={"leaked": 0}))
    assert "stand in train" not in render_markdown(clean) + render_html(clean) + render_card(
        clean, pair=False, quantized=True
    )


def test_the_terminal_tells_latency_groups_apart() -> None:
    """Two gates that differ in their length alone were two lines alike."""
    gate = next(g for g in gates() if g.metric.startswith("latency"))
    short, long = (gate.model_copy(update={"sequence": length, "target": "phone"}) for length in (32, "task"))
    assert in_terminal(short, [short]) == f"{gate.metric} {gate.kind} {gate.bound:g}"
    assert [in_terminal(g, [short, long]).partition(f"{gate.bound:g} ")[2] for g in (short, long)] == [
        "(phone, 32 tokens)",
        "(phone, task rows)",
    ]


def test_no_two_gates_have_one_name() -> None:
    """Found from outside: of two gates that differ in slice, reference or confidence alone CI servers show one."""
    drop = next(g for g in gates() if g.metric == "accuracy")
    fast = next(g for g in gates() if g.metric.startswith("latency")).model_copy(update={"against": "onnx"})
    several = [drop, *(drop.model_copy(update={"slice": name}) for name in ("worst", "genre"))]
    several += [drop.model_copy(update={"confidence": 0.99}), drop.model_copy(update={"bound": drop.bound + 1e-9})]
    several += [fast, fast.model_copy(update={"against": "torch"}), fast.model_copy(update={"sequence": 7})]
    for names in ([title(g) for g in several], [in_terminal(g, several) for g in several]):
        assert len({*names}) == len(several), names
    assert title(several[1]).startswith("accuracy worst slice ") and title(several[-2]).endswith("against torch)")


@pytest.mark.parametrize("text", ["a|b", "a\\|b", "a\\\\|b", "a\\", "\\`<b>`"])
def test_a_text_stays_in_its_cell(text: str) -> None:
    """GitHub reads no character behind a backslash as the table's, be it a backslash itself."""
    line = table(Table([Column("x"), Column("y")], [[text, "end"]])).splitlines()[2]
    cells = re.split(r"\|", re.sub(r"\\.", "", line))
    assert [c.strip() for c in cells][2:] == ["end", ""] and len(cells) == 4
    shown = re.sub(r"\\([^\w\s])", r"\1", line[2:].partition(" | end")[0].rstrip()).replace("&lt;", "<")
    assert shown == text
