"""Energy: the arithmetic over blocks and steps, the sources of its figures, what is refused, and what is shown."""

from __future__ import annotations

import json
import logging
import socket
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from helpers import edgeopt, seal_run, tiny_recipe
from report_sample import sample_report, step

from edgeopt.measure import emissions
from edgeopt.measure.emissions import Energy, figures_of, metering, sources
from edgeopt.measure.energy import Block, summarize, t_bounds
from edgeopt.measure.energy_worker import measured
from edgeopt.report import energy, tables
from edgeopt.report import format as fmt
from edgeopt.results.model import Emissions, Report
from edgeopt.support import host


class FakeTracker:
    """Uses 2e-6 kWh at 250 g a kWh, in the units of CodeCarbon: kWh and kilograms."""

    _hardware: tuple[Any, ...] = ()

    def __init__(self, kwh: float = 2e-6) -> None:
        self.kwh = kwh

    def start(self) -> None: ...

    def stop(self) -> None:
        parts = {"cpu_energy": self.kwh / 2, "gpu_energy": 0.0, "ram_energy": self.kwh / 2}
        self.final_emissions_data = SimpleNamespace(energy_consumed=self.kwh, emissions=self.kwh * 0.25, **parts)


def test_what_a_block_used_is_kwh_grams_and_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(emissions, "open_tracker", lambda country: asked.append(country) or FakeTracker())
    with metering("SVN") as used:
        assert used == []
        time.sleep(0.02)
    (found,) = used
    assert (asked, found.kwh, found.co2eq_g, found.parts_kwh) == (
        ["SVN"],
        2e-6,
        pytest.approx(0.0005),
        {"cpu": 1e-6, "gpu": 0.0, "ram": 1e-6},
    )
    assert 0.02 <= found.seconds < 5 and found.watts == pytest.approx(2e-6 * 3.6e6 / found.seconds)
    assert json.loads(json.dumps(figures_of(used)))["emissions"]["kwh"] == 2e-6
    with metering(None) as none:
        pass
    assert (none, figures_of(none), asked) == ([], {}, ["SVN"])


def test_a_tracker_that_gives_nothing_is_said_and_stops_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(
        emissions, "open_tracker", lambda country: SimpleNamespace(start=lambda: None, stop=lambda: None)
    )
    with caplog.at_level(logging.WARNING, "edgeopt"), metering("SVN") as used:
        pass
    assert used == [] and "gave no figures" in caplog.text


def hardware(kind: str, **fields: Any) -> Any:
    return type(kind, (), fields)()


@pytest.mark.parametrize(
    ("parts", "estimated", "words"),
    [
        (
            [hardware("RAM"), hardware("CPU", _mode="intel_rapl", _tdp=85)],
            False,
            ["RAPL", "the whole machine", "memory a constant of CodeCarbon's"],
        ),
        (
            [hardware("CPU", _mode="cpu_load", _tdp=8), hardware("GPU")],
            True,
            ["estimated: 8 W at full load", "GPUs by their counters"],
        ),
        ([hardware("CPU", _mode="constant", _tdp=85)], True, ["half of 85 W"]),
        ([hardware("AppleSiliconChip", chip_part="CPU")], False, ["CPU by the chip's own meter"]),
    ],
)
def test_where_figures_are_from(parts: list[Any], estimated: bool, words: list[str]) -> None:
    found, how = sources(SimpleNamespace(_hardware=parts))
    assert found is estimated and all(word in how for word in words)


@pytest.mark.parametrize(
    ("forced", "generic", "known", "words"),
    [
        (65.0, False, False, "65 W at full load (as CODECARBON_FORCE_CPU_POWER says)"),
        (None, True, None, "CodeCarbon's constant for one that it does not know"),
        (None, False, True, "by CodeCarbon's table of processors"),
        (None, False, False, "CodeCarbon's fallback, so many watts a thread, as its table lacks this processor"),
    ],
)
def test_where_the_watts_are_from(
    forced: float | None, generic: bool, known: bool | None, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(emissions, "_in_table", lambda: known)
    part = hardware("CPU", _mode="cpu_load", _tdp=65, _is_generic_tdp=generic)
    memory = hardware("RAM", _force_ram_power=7.0)
    _, how = sources(SimpleNamespace(_hardware=[part, memory], _force_cpu_power=forced))
    assert words in how and "memory 7 W, as CODECARBON_FORCE_RAM_POWER says" in how


def test_no_less_is_said_where_the_bounds_do_not(tmp_path: Path) -> None:
    """Means of .4 and .2 J whose bounds reach below what idling takes came out as `2.04× less`."""
    plain = summarize(blocks(), "phone", 10.0)

    def changes(low: float, **more: Any) -> list[str]:
        inference = [
            each.model_copy(update={"kwh": kwh, "low": low, "high": 1e-3})
            for each, kwh in zip(plain.inference, (2e-4, 1e-4), strict=True)
        ]
        report = sample(emissions=plain.model_copy(update={"inference": inference, **more}))
        rows = {row[0]: row[1:] for row in tables.figures(report).rows}
        assert rows["energy of 1,000 inferences, estimated"][2:] == rows["CO2eq of 1,000 inferences, estimated"][2:]
        return rows["energy of 1,000 inferences, estimated"][2:]

    assert changes(-1e-5, ratio=2.0, ratio_low=1.5, ratio_high=3.0) == ["too close to idling", fmt.ABSENT]
    assert changes(1e-5, ratio=None, ratio_low=None, ratio_high=None) == ["too close to idling", fmt.ABSENT]
    assert changes(1e-5, ratio=2.0, ratio_low=0.7, ratio_high=5.0) == ["no clear difference", "[0.700×, 5.00×]"]
    assert changes(1e-5, ratio=2.0, ratio_low=1.5, ratio_high=3.0) == ["2.00× less", "[1.50×, 3.00×]"]


def test_bounds_are_students() -> None:
    # mean 3, deviation √2.5, t of .95 with 4 degrees of freedom 2.131847 from a table
    assert t_bounds([1, 2, 3, 4, 5]) == pytest.approx(
        (3, 3 - 2.131847 * (2.5 / 5) ** 0.5, 3 + 2.131847 * (2.5 / 5) ** 0.5), abs=1e-5
    )


def used(joules: float, seconds: float) -> Energy:
    return Energy(seconds, joules / 3.6e6, joules / 3.6e6 * 200, "SVN", True, "by a table", {})


def blocks() -> dict[str, list[Block]]:
    """Idling takes 10 W in even blocks, 20 W in odd ones.

    Above it the baseline takes .4 J a query, the candidate .1 J.
    """
    out: dict[str, list[Block]] = {"idle": [], "baseline": [], "candidate": []}
    for i in range(5):
        watts = 20 if i % 2 else 10
        out["idle"].append((used(watts * 2, 2), 0))
        out["baseline"].append((used(watts * 2.5 + 0.4 * (50 + i), 2.5), 50 + i))
        out["candidate"].append((used(watts * 2 + 0.1 * 200, 2), 200))
    return out


def test_idling_is_taken_off_each_block_and_a_thousand_are_counted() -> None:
    found = summarize(blocks(), "phone", 10.0)
    by = {each.subject: each for each in found.inference}
    assert by["baseline"].kwh == pytest.approx(400 / 3.6e6) and by["candidate"].kwh == pytest.approx(100 / 3.6e6)
    assert by["baseline"].co2eq_g == pytest.approx(400 / 3.6e6 * 200)
    assert (by["candidate"].queries, by["baseline"].queries) == (1000, 260)
    assert (found.ratio, found.ratio_low, found.ratio_high) == pytest.approx((4, 4, 4))
    assert (found.idle_watts, found.g_per_kwh, found.estimated, found.country, found.blocks) == (
        14,
        pytest.approx(200),
        True,
        "SVN",
        5,
    )
    # with idling: watts of 10, 20, 10, 20, 10 over 200 queries in 2 s
    assert by["candidate"].gross_kwh == pytest.approx((14 * 2 / 200 * 1000 + 100) / 3.6e6)


def test_no_ratio_where_a_block_used_no_more_than_idling() -> None:
    given = blocks()
    given["candidate"][2] = (used(19, 2), 200)
    assert summarize(given, "phone", 10.0).ratio is None


def test_every_round_has_each_model_and_idling_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(emissions, "open_tracker", lambda country: FakeTracker())
    asked: list[Any] = []
    given: dict[str, Any] = dict.fromkeys(("baseline", "candidate"), asked.append)
    found = measured(given, [{"n": i} for i in range(3)], 2, 0.01, "SVN")  # type: ignore[misc]
    assert {name: len(those) for name, those in found.items()} == {"idle": 2, "baseline": 2, "candidate": 2}
    assert sum(queries for those in found.values() for _, queries in those) == len(asked)
    assert [q for _, q in found["idle"]] == [0, 0]
    assert asked[:4] == [{"n": 0}, {"n": 1}, {"n": 2}, {"n": 0}]


def recipe(folder: Path, tiny_model: Path, tiny_data: Path, asked: Any) -> Path:
    task = {"type": "text-classification", "dataset": {"path": str(tiny_data)}, "text": "text"}
    return tiny_recipe(
        folder, model={"id": str(tiny_model)}, task=task, steps=[{"use": "finetune", "max_steps": 1}], emissions=asked
    )


def test_without_the_package_plan_says_what_to_install(
    tmp_path: Path, tiny_model: Path, tiny_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = host.installed
    monkeypatch.setattr(host, "installed", lambda name: None if name == "codecarbon" else installed(name))
    path = recipe(tmp_path, tiny_model, tiny_data, {"country": "SVN"})
    places = ["--store", tmp_path / "store"]
    for command in (["plan", path, *places], ["validate", path], ["apply", path, "--out", tmp_path / "run", *places]):
        done = edgeopt(*command)
        assert (done.code, "error[E206]" in done.err, "pip install '.[emissions]'" in done.err) == (2, True, True)
    assert not (tmp_path / "run").exists()
    plain = recipe(tmp_path, tiny_model, tiny_data, None)
    assert edgeopt("validate", plain).code == 0  # not asked for, not needed
    assert "error[E206]" in edgeopt("apply", plain, "--emissions", "--out", tmp_path / "run", *places).err


def test_the_country_may_come_from_the_environment(
    tmp_path: Path, tiny_model: Path, tiny_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = recipe(tmp_path, tiny_model, tiny_data, {})
    monkeypatch.setenv("EDGEOPT_COUNTRY", "SVN")
    assert edgeopt("validate", path).code == 0
    monkeypatch.setenv("EDGEOPT_COUNTRY", "svn")
    done = edgeopt("validate", path)
    assert done.code == 2 and "'svn' (EDGEOPT_COUNTRY)" in done.err and "three capital letters" in done.err


def test_metering_writes_nothing_says_nothing_and_asks_no_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """CodeCarbon itself, set up by its environment to do all of that."""

    def refused(*_: Any) -> None:
        raise AssertionError("the network was asked")

    for name, value in {
        "CO2_SIGNAL_API_TOKEN": "x",
        "OUTPUT_METHODS": "csv,api",
        "EMISSIONS_ENDPOINT": "http://127.0.0.1:9/",
        "SAVE_TO_FILE": "true",
        "CLOUD_PROVIDER": "gcp",
        "CLOUD_REGION": "europe-west1",
        "ALLOW_MULTIPLE_RUNS": "false",
        "LOG_LEVEL": "info",
    }.items():
        monkeypatch.setenv(f"CODECARBON_{name}", value)
    monkeypatch.setattr(socket.socket, "connect", refused)
    monkeypatch.chdir(tmp_path)
    with metering("SVN") as used:
        end = time.monotonic() + 0.3
        while time.monotonic() < end:
            sum(range(1000))
    (found,) = used
    assert found.kwh > 0 and found.co2eq_g / found.kwh == pytest.approx(231.275)  # CodeCarbon's figure of Slovenia
    assert found.kwh == pytest.approx(sum(found.parts_kwh.values()))
    assert list(tmp_path.iterdir()) == [] and capfd.readouterr() == ("", "")


def metered(name: str, chain: str, kwh: float) -> Any:
    figures = {
        "seconds": 60.0,
        "kwh": kwh,
        "co2eq_g": kwh * 200,
        "country": "SVN",
        "estimated": True,
        "how": "by a table",
        "parts_kwh": {},
    }
    return step(name, "finetune", chain, 61.0, 90_000_000, emissions=figures)  # type: ignore[arg-type]


def sample(**changes: Any) -> Report:
    steps = [
        metered("finetune", "baseline", 0.004),
        metered("adapt", "candidate", 0.001),
        metered("merge", "candidate", 0.0005),
    ]
    return sample_report(**{"steps": steps, "emissions": summarize(blocks(), "phone", 10.0), **changes})


def test_the_report_has_steps_sums_and_inferences() -> None:
    rows = {row[0]: row[1:] for row in energy.table(sample()).rows}
    assert rows["candidate.adapt"] == ["1 min 00 s", "1.00 Wh", "200 mg", "estimated"]
    assert rows["candidate, all steps"] == ["2 min 00 s", "1.50 Wh", "300 mg", "estimated"]
    shown = {row[0]: row[1:] for row in tables.figures(sample()).rows}
    assert shown["energy of 1,000 inferences, estimated"] == ["111 mWh", "27.8 mWh", "4.00× less", "[4.00×, 4.00×]"]
    assert shown["CO2eq of 1,000 inferences, estimated"][:2] == ["22.2 mg", "5.56 mg"]
    note = energy.note(sample())
    assert all(
        part in note
        for part in ("by a table", "10 s in 5 blocks", "14.0 W", "200 g CO2eq per kWh", "CODECARBON_FORCE_CPU_POWER")
    )


def test_bounds_are_of_the_ratio_that_the_change_says() -> None:
    found = summarize(blocks(), "phone", 10.0).model_copy(update={"ratio": 0.5, "ratio_low": 0.4, "ratio_high": 0.8})
    inference = [each.model_copy(update={"kwh": kwh}) for each, kwh in zip(found.inference, (1e-6, 2e-6), strict=True)]
    rows = {
        row[0]: row[1:]
        for row in tables.figures(sample(emissions=found.model_copy(update={"inference": inference}))).rows
    }
    assert rows["energy of 1,000 inferences, estimated"][2:] == ["2.00× more", "[1.25×, 2.50×]"]


def test_a_sum_without_a_step_that_was_not_metered_is_at_least() -> None:
    report = sample(steps=[*sample().steps, step("int8", "quantize.static", "candidate", 2.0, 23_000_000)])
    rows = {row[0]: row[1:] for row in energy.table(report).rows}
    assert rows["candidate, all steps"][1:3] == ["≥ 1.50 Wh", "≥ 300 mg"]
    assert (
        energy.chain_total(report, "candidate", "kwh") is None
        and energy.chain_total(report, "baseline", "kwh") == 0.004
    )


def test_every_rendering_has_it_and_none_without(tmp_path: Path) -> None:
    from edgeopt.report.card import render_card
    from edgeopt.report.html import render_html
    from edgeopt.report.markdown import render_markdown

    def drawn(report: Report) -> list[str]:
        return [render_html(report), render_markdown(report), render_card(report, pair=True, quantized=True)]

    assert all(
        "energy of 1,000 inferences, estimated" in page and "1.50 Wh" in page and "Estimates are only as good" in page
        for page in drawn(sample())
    )
    assert not any("CO2eq" in page for page in drawn(sample_report()))
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "report.json").write_text(sample().model_dump_json())
    seal_run(tmp_path / "a")
    full, row = edgeopt("compare", tmp_path / "a", "--json").json["rows"]
    assert (row["making_kwh"], full["making_kwh"], row["inference_kwh"]) == (
        pytest.approx(0.0015),
        0.004,
        pytest.approx(100 / 3.6e6),
    )
    assert "27.8 mWh" in edgeopt("compare", tmp_path / "a", "--format", "markdown").out
    assert Emissions.model_validate_json(summarize(blocks(), "phone", 10.0).model_dump_json()).ratio == pytest.approx(4)


@pytest.mark.parametrize(
    ("kwh", "shown"),
    [
        (2.0, "2.00 kWh"),
        (0.0123, "12.3 Wh"),
        (1e-6, "1.00 mWh"),
        (4.2e-8, "42.0 µWh"),
        (0, "0 µWh"),
        (-3e-6, "−3.00 mWh"),
    ],
)
def test_energy_is_written_in_a_unit_that_fits(kwh: float, shown: str) -> None:
    assert fmt.energy(kwh) == shown
