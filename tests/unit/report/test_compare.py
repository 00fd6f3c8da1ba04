"""`edgeopt compare`, over reports that are written here: what it shows, what it warns of, and its five forms."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
from helpers import Result, edgeopt, seal_run
from report_sample import latency, sample_report, seeds, step, subject, training
from unit.report.test_report_render import Balanced

from edgeopt.report.compare.latex import escape
from edgeopt.results.model import RecipeInfo, Report

FORMS = ["text", "markdown", "html", "csv", "latex"]
LORA = sample_report(recipe=RecipeInfo(name="lora", source="x", digest="0"))
BITFIT = sample_report(
    recipe=RecipeInfo(name="bit_fit", source="x", digest="1"),
    candidate=subject("onnx/model_quantized.onnx", 0.81, 0.86, 23_000_000, 17_000_000, "int8"),
    steps=[
        LORA.steps[0],
        step(
            "bias",
            "adapter.bitfit",
            "candidate",
            90.0,
            90_000_000,
            **training(28_034, 22_713_986, 88.0),
            peak_gpu_bytes=54_200_000,
        ),
    ],
)


def write(folder: Path, report: Report, name: str) -> Path:
    (folder / name).mkdir(parents=True)
    (folder / name / "report.json").write_text(report.model_dump_json())
    return seal_run(folder / name)


@pytest.fixture
def runs(tmp_path: Path) -> list[Path]:
    return [write(tmp_path, LORA, "a"), write(tmp_path, BITFIT, "b")]


def table_of(*arguments: object) -> list[dict[str, str]]:
    done = edgeopt("compare", *arguments, "--format", "csv")
    assert done.code == 0, done.err
    return list(csv.DictReader(io.StringIO(done.out)))


def shown(*arguments: object) -> Result:
    done = edgeopt("compare", *arguments)
    assert done.code == 0, done.err
    return done


def test_csv_holds_the_numbers_of_the_reports(runs: list[Path]) -> None:
    rows = table_of(*runs)
    assert [(r["run"], r["role"]) for r in rows] == [
        ("full fine-tune, FP32", "baseline"),
        ("lora", "candidate"),
        ("bit_fit", "candidate"),
    ]
    full, lora, bitfit = rows
    assert [float(r["trained_parameters"]) for r in rows] == [22_713_986, 443_906, 28_034]
    assert float(bitfit["trained_share"]) == round(28_034 / 22_713_986, 6)
    assert (lora["loading_seconds"], lora["computing_seconds"], lora["training_seconds"]) == ("1.234", "370.0", "371.5")
    assert float(lora["inference_seconds"]) == LORA.candidate.inference_seconds
    assert [r["peak_gpu_bytes"] for r in rows] == ["", "", "54200000"]
    assert (lora["checkpoint_bytes"], lora["adapter_bytes"], lora["exported_bytes"]) == (
        "96214880",
        "1775624",
        "23014208",
    )
    assert [r["adapter_bytes"] for r in (full, bitfit)] == ["", ""]
    assert float(lora["p50_milliseconds"]) == 8.52 and float(full["p50_milliseconds"]) == 21.43
    assert (lora["speedup_ratio"], full["speedup_ratio"]) == ("2.515", "")
    assert [float(lora[m]) for m in ("accuracy", "precision", "recall", "f1")] == pytest.approx(
        [0.8382, 0.8282, 0.9082, 0.8852]
    )
    assert (lora["accuracy_std"], lora["seeds"]) == ("", "1")


def test_seconds_of_several_trainings_add_up_and_the_last_file_counts(tmp_path: Path) -> None:
    second = step("recover", "prune.magnitude", "candidate", 50.0, 90_000_000, **training(22_713_986, 22_713_986, 40.0))
    (row,) = table_of(write(tmp_path, sample_report(steps=[*LORA.steps, second]), "a"), "--no-baseline")
    assert float(row["training_seconds"]) == 371.5 + 40.0
    assert float(row["trained_parameters"]) == 22_713_986
    assert (row["checkpoint_bytes"], row["adapter_bytes"]) == ("90000000", "1775624")


def test_with_seeds_a_metric_is_its_mean_and_deviation(tmp_path: Path) -> None:
    run = write(tmp_path, sample_report(seeds=seeds()), "a")
    full, candidate = table_of(run)
    assert (float(full["accuracy"]), float(full["accuracy_std"])) == pytest.approx((0.8407, 0.01))
    assert (float(candidate["accuracy"]), float(candidate["accuracy_std"]), candidate["seeds"]) == (
        pytest.approx(0.8332),
        0.005,
        "3",
    )
    for form in ("text", "markdown", "html"):
        assert "0.8332 ± 0.0050" in shown(run, "--format", form).out
    assert r"0.8332 $\pm$ 0.0050" in shown(run, "--format", "latex").out


def test_a_baseline_that_runs_share_is_one_row_and_another_is_another(tmp_path: Path, runs: list[Path]) -> None:
    other = [s.model_copy(update={"digest": "f" * 64}) if s.chain == "baseline" else s for s in LORA.steps]
    third = write(tmp_path, sample_report(recipe=RecipeInfo(name="other", source="x", digest="2"), steps=other), "c")
    names = [r["run"] for r in table_of(*runs, third) if r["role"] == "baseline"]
    assert names == ["full fine-tune, FP32 (lora, bit_fit)", "full fine-tune, FP32 (other)"]
    given = sample_report(steps=[s for s in LORA.steps if s.chain == "candidate"])
    assert table_of(write(tmp_path, given, "d"))[0]["run"] == "model as given, FP32"
    assert {r["role"] for r in table_of(*runs, "--no-baseline")} == {"candidate"}


def test_names(tmp_path: Path) -> None:
    a, b = write(tmp_path, LORA, "x/first"), write(tmp_path, LORA, "x/second")
    assert [r["run"] for r in table_of(a, b, "--no-baseline")] == ["first", "second"]
    c = write(tmp_path, LORA, "y/first")
    assert [r["run"] for r in table_of(a, b, c, "--no-baseline")] == [str(a), "second", str(c)]
    assert len(table_of(a, a, a / "report.json", "--no-baseline")) == 2  # the folder and the file


@pytest.mark.parametrize("form", FORMS)
def test_every_form_warns_where_rows_are_not_comparable(tmp_path: Path, runs: list[Path], form: str) -> None:
    other = sample_report(
        model="google/electra", task=LORA.task.model_copy(update={"dataset": "data/sst2", "rows": 872})
    )
    done = shown(*runs, write(tmp_path, other, "c"), "--format", form)
    assert (
        "model, dataset, rows differ between the runs: metrics of rows that differ in them are not comparable"
        in done.out + done.err
    )
    if form != "csv":
        assert "data/sst2" in done.out and "google/electra" in done.out
    assert "not comparable" not in (again := shown(*runs, "--format", form)).out + again.err
    if form in ("text", "markdown"):
        assert "nyu-mll" not in again.out  # the same for all: no column


def test_a_copy_of_the_data_elsewhere_is_the_same_data(tmp_path: Path) -> None:
    reports = [
        sample_report(task=LORA.task.model_copy(update={"dataset": where, "fingerprint": "abc" * 20}))
        for where in ("/a", "/b")
    ]
    done = shown(*(write(tmp_path, r, str(i)) for i, r in enumerate(reports)))
    assert "/a" in done.out and "not comparable" not in done.out


def test_other_rows_under_the_same_name_are_noticed(tmp_path: Path) -> None:
    reports = [sample_report(task=LORA.task.model_copy(update={"fingerprint": digest * 64})) for digest in ("a", "b")]
    done = shown(*(write(tmp_path, r, str(i)) for i, r in enumerate(reports)))
    assert "digest of rows differ between the runs: metrics" in done.out
    assert "aaaaaaaa" in done.out and "bbbbbbbb" in done.out


def fingerprinted(model: str, digest: str, **changes: Any) -> Report:
    return sample_report(model=model, model_fingerprint=digest * 64, **changes)


def test_a_model_is_known_by_its_content_and_not_by_its_path(tmp_path: Path) -> None:
    copy = [write(tmp_path, fingerprinted(name, "a"), f"copy{i}") for i, name in enumerate(("/a/model", "/b/model"))]
    done = shown(*copy)
    assert "not comparable" not in done.out and "/b/model" in done.out
    other = [write(tmp_path, fingerprinted("/a/model", digest), f"other-{digest}") for digest in "ab"]
    words = " ".join(shown(*other).out.split())
    assert (
        "digest of model differ between the runs: metrics of rows" in words
        and "aaaaaaaa" in words
        and "bbbbbbbb" in words
    )
    unknown = shown(copy[0], write(tmp_path, sample_report(model="/a/model"), "earlier"))
    assert "digest of model" not in unknown.out


@pytest.mark.parametrize(
    ("package", "what"),
    [
        ("onnxruntime", ("metrics", "seconds, latencies and energy")),
        ("torch", ("metrics",)),
        ("peft", ("metrics",)),
    ],
)
def test_other_versions_are_told(tmp_path: Path, package: str, what: tuple[str, ...]) -> None:
    environments = [
        {**LORA.environment, "packages": {"onnxruntime": "1.31.1", "torch": "2.13.0", "peft": "0.21.2", package: v}}
        for v in ("1.0", "2.0")
    ]
    done = json.loads(
        shown(
            *(write(tmp_path, sample_report(environment=e), str(i)) for i, e in enumerate(environments)), "--json"
        ).out
    )
    assert done["warnings"] == [
        f"{package} differ between the runs: {each} of rows that differ in them are not comparable." for each in what
    ]


def test_latencies_of_different_sittings_are_ranked_by_the_ratio_to_their_own_baseline(tmp_path: Path) -> None:
    """The second was timed while the machine was half as fast: twice the milliseconds, and the better ratio."""
    from report_sample import speedup

    rows = []
    for i, (ms, base, ratio) in enumerate([(8.0, 16.0, 2.0), (12.0, 36.0, 3.0), (9.0, 9.0, 1.0)]):
        report = sample_report(
            recipe=RecipeInfo(name=f"r{i}", source="x", digest=str(i)),
            latency=[latency("candidate", ms, ms, None), latency("baseline", base, base, None)],
            speedups=[speedup("baseline", ratio, ratio, ratio)],
        )
        rows.append(write(tmp_path, report, f"r{i}"))
    assert json.loads(shown(*rows, "--no-baseline", "--json").out)["pareto"]["p50_share"] == ["r1"]


def test_no_front_over_runs_that_are_not_comparable(tmp_path: Path, runs: list[Path]) -> None:
    def pareto(third: Report) -> tuple[set[str], str]:
        every = [*runs, write(tmp_path, third, "c")]
        out = shown(*every).out
        for path in (tmp_path / "c").iterdir():
            path.unlink()
        (tmp_path / "c").rmdir()
        return {w for w in ("p50 latency:", "exported size:") if f"Pareto front of accuracy and {w}" in out}, " ".join(
            out.split()
        )

    assert pareto(LORA)[0] == {"p50 latency:", "exported size:"}
    assert pareto(sample_report(model="other/model"))[0] == set()
    found, words = pareto(sample_report(environment={**LORA.environment, "cpu": "another"}))
    assert found == {"exported size:"} and "No Pareto front of latency" in words
    found, words = pareto(sample_report(baseline=LORA.baseline.model_copy(update={"size_bytes": 400_000_000})))
    assert found == {"exported size:"} and "baselines have different sizes" in words


def test_the_notes_of_the_runs_are_kept(tmp_path: Path) -> None:
    reports = [sample_report(notes=["seen by both", *more]) for more in ([], ["of the second alone"])]
    every = [write(tmp_path, r, str(i)) for i, r in enumerate(reports)]
    assert json.loads(shown(*every, "--json").out)["notes"] == {
        "seen by both": ["0", "1"],
        "of the second alone": ["1"],
    }
    for form in ("text", "markdown", "html", "latex"):
        out = shown(*every, "--format", form).out
        assert "seen by both" in out and "of the second alone" in out


def test_latency_is_taken_at_a_place_that_all_share(tmp_path: Path) -> None:
    elsewhere = sample_report(
        latency=[
            latency("candidate", 3.0, 4.0, None, sequence="task"),
            latency("baseline", 9.0, 9.0, None, sequence="task"),
        ],
        gates=[],
    )
    a, b = write(tmp_path, LORA, "a"), write(tmp_path, elsewhere, "b")
    assert [r["p50_milliseconds"] for r in table_of(a, b, "--no-baseline")] == ["3.14", "3.0"]
    nowhere = sample_report(latency=[latency("candidate", 1.0, 1.0, None, target="phone")])
    done = shown(a, write(tmp_path, nowhere, "c"))
    assert "timed at differ between the runs: seconds, latencies and energy" in " ".join(done.out.split())


def test_html_is_one_page_with_a_picture(runs: list[Path]) -> None:
    page = shown(*runs, "--format", "html").out
    parsed = Balanced(page)
    assert parsed.addresses == [] and not re.search(r"https?://|url\(|@import|<script|<link", page)
    assert (parsed.count["svg"], parsed.count["circle"]) == (1, 3)
    x = [float(v) for v in re.findall(r'<circle cx="([\d.]+)"', page)]
    assert x[0] > x[1] > x[2]
    # on a log scale equal ratios are equal distances
    import math

    assert (x[0] - x[1]) / (x[1] - x[2]) == pytest.approx(
        math.log(22_713_986 / 443_906) / math.log(443_906 / 28_034), abs=0.01
    )


def test_three_runs_have_a_pareto_front(tmp_path: Path, runs: list[Path]) -> None:
    """The third costs what BitFit does and scores less: it is on neither front."""
    third = BITFIT.model_copy(
        update={
            "recipe": RecipeInfo(name="third", source="x", digest="2"),
            "candidate": BITFIT.candidate.model_copy(
                update={"metrics": {"accuracy": 0.5, "f1": 0.5}, "size_bytes": 24_000_000}
            ),
        }
    )
    every = [*runs, write(tmp_path, third, "c")]
    found = json.loads(shown(*every, "--json").out)
    rows = {r["run"]: r for r in found["rows"]}
    for cost in ("p50_share", "exported_bytes"):
        points = {name: (r[cost], r["accuracy"]) for name, r in rows.items()}
        best = [
            n
            for n, (x, y) in points.items()
            if not any(a <= x and b >= y and (a, b) != (x, y) for a, b in points.values())
        ]
        assert found["pareto"][cost] == best and "third" not in best
    assert Balanced(shown(*every, "--format", "html").out).count["svg"] == 3
    assert "Pareto front of accuracy and exported size: " in shown(*every, "--format", "markdown").out
    assert rows["bit_fit"]["steps"] == "bias" and float(rows["bit_fit"]["building_seconds"]) == sum(
        s.seconds for s in BITFIT.steps if s.chain == "candidate"
    )


def test_no_picture_and_no_cost_where_nothing_was_trained(tmp_path: Path) -> None:
    run = write(tmp_path, sample_report(steps=[]), "a")
    assert "svg" not in Balanced(shown(run, "--format", "html").out).count
    assert "Trained" not in shown(run).out


def test_latex_is_escaped_and_balanced(runs: list[Path]) -> None:
    out = shown(*runs, "--format", "latex").out
    assert r"bit\_fit" in out and out.count(r"\begin{tabular}") == out.count(r"\end{tabular}") == 4
    assert out.count(r"\toprule") == out.count(r"\midrule") == out.count(r"\bottomrule") == 4
    body = [line for line in out.splitlines() if line.endswith(r"\\")]
    assert not [line for line in body if re.search(r"(?<!\\)[%#_]", line)]
    assert len({len(re.findall(r"(?<!\\)&", line)) for line in body[:4]}) == 1
    assert (
        escape(r"a_b & 5 % \ {x} ~^ < × ±")
        == r"a\_b \& 5 \% \textbackslash{} \{x\} \textasciitilde{}\textasciicircum{} \textless{} $\times$ $\pm$"
    )


@pytest.mark.parametrize("form", ["markdown", "html"])
def test_markup_in_names_stays_text(tmp_path: Path, form: str) -> None:
    hostile = "<script>alert(1)</script> | [b]"
    reports = [
        sample_report(model=f"{hostile}{i}", recipe=RecipeInfo(name=hostile, source="x", digest="0")) for i in range(2)
    ]
    out = shown(*(write(tmp_path, r, f"[red]{i}") for i, r in enumerate(reports)), "--format", form).out
    assert "<script" not in out
    if form == "html":
        Balanced(out)


def test_rich_markup_in_names_stays_text(tmp_path: Path) -> None:
    reports = [sample_report(model=f"[bold]m{i}[/bold]") for i in range(2)]
    out = shown(*(write(tmp_path, r, f"[red]{i}") for i, r in enumerate(reports))).out
    assert "[bold]m0[/bold]" in out and "[red]1" in out


@pytest.mark.parametrize("form", FORMS)
def test_out_writes_the_same_into_a_file(runs: list[Path], tmp_path: Path, form: str) -> None:
    path = tmp_path / "table"
    done = shown(*runs, "--format", form, "--out", path)
    assert done.out == f"{path}\n"
    mark, _, text = path.read_text().partition("\n\n") if form != "csv" else ("", "", path.read_text())
    assert text == shown(*runs, "--format", form).out and mark.count("\n") == 0


def test_json_holds_the_same_rows_as_csv(runs: list[Path]) -> None:
    found: list[dict[str, Any]] = json.loads(shown(*runs, "--json").out)["rows"]
    assert [{k: "" if v is None else str(v) for k, v in row.items()} for row in found] == table_of(*runs)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["absent"], "E115"),
        (["a", "empty"], "E115"),
        (["broken"], "E115"),
        ([], "Missing argument"),
        (["a", "--out", "a/report.json/x"], "E114"),
        (["a", "--out", "a"], "E114"),
    ],
)
def test_bad_input_ends_with_2(tmp_path: Path, runs: list[Path], arguments: list[str], words: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "report.json").write_text('{"schema_version": 1}')
    done = edgeopt("compare", *arguments, cwd=tmp_path)
    assert (done.code, done.out) == (2, "")
    assert words in done.err
