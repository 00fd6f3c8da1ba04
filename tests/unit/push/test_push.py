"""Pushes to a hub on loopback by huggingface_hub: what arrives, what is refused, and that no token is printed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from bundles import make_run
from helpers import Result, edgeopt, seal_run
from hub import TOKEN, Hub, serving

from edgeopt.bundle.make import Wanted, make_bundle
from edgeopt.push.address import Address, address_of
from edgeopt.support.errors import InputError
from edgeopt.support.secrets import hidden


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory, tiny_data: Path) -> Path:
    """A bundle of another model, which also has a license file."""
    made = tmp_path_factory.mktemp("other")
    (made / "terms").write_text("the terms")
    make_bundle(make_run(made, tiny_data, seed=1), made / "b", Wanted(count=4, license=str(made / "terms")))
    return made / "b"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    from huggingface_hub import constants

    with serving() as found:
        # as HF_ENDPOINT sets them, when the client is imported
        monkeypatch.setattr(constants, "ENDPOINT", found.address)
        address = f"{found.address}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", address)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        yield found


def push(*args: object) -> Result:
    done = edgeopt("push", *args)
    assert TOKEN not in done.out + done.err and "Traceback" not in done.err
    return done


def refused(*args: object) -> str:
    done = push(*args)
    assert done.code == 2 and done.err.count("error[E146]") == 1, (done.out, done.err)
    return done.err


def test_a_bundle_arrives_whole_with_a_card_and_its_bill(hub: Hub, bundle: Path, tmp_path: Path) -> None:
    done = push(bundle, "hf:team/sentiment", "--json")
    assert done.code == 0, done.err
    found = hub["team/sentiment"]
    assert found.private and done.json["version"] == found.branches["main"] and done.json["new"]
    files = found.files()
    card = files["README.md"].decode()
    front = card.split("---")[1]
    assert "license: apache-2.0" in front and "verdict-pass" in front and "type: accuracy" in front
    assert "Verdict of its gates: **pass**" in card and "hf download team/sentiment --local-dir sentiment" in card
    assert json.loads(files["sbom.cdx.json"])["bomFormat"] == "CycloneDX"
    for name, data in files.items():
        path = tmp_path / "sentiment" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    (tmp_path / "sentiment" / ".cache" / "huggingface").mkdir(parents=True)  # as `hf download --local-dir` leaves it
    (tmp_path / "sentiment" / ".cache" / "huggingface" / "x.lock").write_text("")
    verified = edgeopt("bundle", "verify", tmp_path / "sentiment")
    assert verified.code == 0, verified.err


def test_the_same_bundle_is_pushed_once(hub: Hub, bundle: Path) -> None:
    assert push(bundle, "hf:team/sentiment").code == 0
    before = dict(hub["team/sentiment"].commits)
    again = push(bundle, "hf:team/sentiment", "--json")
    assert again.code == 0 and again.json["new"] is False and hub["team/sentiment"].commits == before


def test_a_run_is_bundled_first(hub: Hub, run: Path) -> None:
    before = sorted(run.rglob("*"))
    done = push(run, "hf:team/run")
    assert done.code == 0 and "the license of the model is unknown" in done.err
    assert "manifest.json" in hub["team/run"].files() and sorted(run.rglob("*")) == before


def test_another_bundle_is_not_replaced_unless_told(hub: Hub, bundle: Path, other: Path) -> None:
    assert push(other, "hf:team/sentiment").code == 0
    found = hub["team/sentiment"]
    first = found.branches["main"]
    assert "LICENSE" in found.files() and "license_link: LICENSE" in found.files()["README.md"].decode()
    assert "--replace" in refused(bundle, "hf:team/sentiment") and found.branches["main"] == first
    assert push(bundle, "hf:team/sentiment", "--replace").code == 0
    assert "LICENSE" not in found.files(), "a file of the earlier bundle that this one lacks"
    assert "LICENSE" in found.files(first), "and the history keeps it"


def test_a_revision_is_a_branch_of_its_own_and_a_tag_stays(hub: Hub, bundle: Path, other: Path) -> None:
    assert push(bundle, "hf:team/sentiment").code == 0
    found = hub["team/sentiment"]
    main = found.branches["main"]
    assert push(other, "hf:team/sentiment@v2").code == 0
    assert found.branches["main"] == main and found.files("v2")["manifest.json"] != found.files()["manifest.json"]
    assert "--revision v2" in found.files("v2")["README.md"].decode()
    found.tags["v1"] = main
    assert "v1 is a tag" in refused(other, "hf:team/sentiment@v1", "--replace")


def test_what_is_of_no_bundle_is_never_overwritten(hub: Hub, bundle: Path) -> None:
    for name, files in {"code": {"train.py": b"x"}, "bare": {"manifest.json": b"{}"}}.items():
        hub.make(f"team/{name}", **files)
        assert "files of no bundle" in refused(bundle, f"hf:team/{name}", "--replace")
    hub.make("team/card", **{"README.md": b"mine"})
    refused(bundle, "hf:team/card")
    assert push(bundle, "hf:team/card", "--replace").code == 0


def test_a_repository_that_all_can_read_must_be_meant(hub: Hub, bundle: Path) -> None:
    hub.make("team/open", private=False)
    assert "--public" in refused(bundle, "hf:team/open")
    assert push(bundle, "hf:team/open", "--public").code == 0
    assert push(bundle, "hf:team/new", "--public").code == 0 and not hub["team/new"].private


def test_a_hub_that_says_no_is_one_error_without_the_token(
    hub: Hub, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.make("team/closed").fails = True
    done = push(bundle, "hf:team/closed")
    assert done.code == 3 and done.err.count("error[E422]") == 1 and "***" in done.err
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    done = push(bundle, "hf:team/x")
    assert done.code == 3 and "E422" in done.err and "hf_wrong" not in done.err


def failing(run: Path, to: Path) -> Path:
    """The run with a gate that failed, sealed again."""
    shutil.copytree(run, to)
    report = json.loads((to / "report.json").read_text())
    report["gates"][0]["verdict"] = report["verdict"] = "fail"
    (to / "report.json").write_text(json.dumps(report))
    return seal_run(to)


def test_a_failed_run_is_refused_unless_told(hub: Hub, run: Path, tmp_path: Path) -> None:
    failed = failing(run, tmp_path / "run")
    assert "verdict of the run is fail" in refused(failed, "hf:team/bad") and "team/bad" not in hub
    done = push(failed, "hf:team/bad", "--even-failed")
    assert done.code == 0 and "warning: the verdict of what was pushed is fail" in done.err
    assert "verdict-fail" in hub["team/bad"].files()["README.md"].decode()


def test_a_damaged_bundle_is_refused_before_anything_is_sent(hub: Hub, bundle: Path, tmp_path: Path) -> None:
    data = bytearray(bundle.read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / "b.zip").write_bytes(data)
    done = push(tmp_path / "b.zip", "hf:team/x")
    assert done.code == 2 and "error[E142]" in done.err and not hub
    assert push(tmp_path / "none.zip", "hf:team/x").code == 2


def test_a_bundle_that_says_no_verdict_is_refused(hub: Hub, other: Path, tmp_path: Path) -> None:
    shutil.copytree(other, tmp_path / "b")
    manifest = json.loads((tmp_path / "b" / "manifest.json").read_text())
    (tmp_path / "b" / "manifest.json").write_text(json.dumps({k: v for k, v in manifest.items() if k != "found"}))
    assert "an earlier version" in refused(tmp_path / "b", "hf:team/x") and not hub


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("mlflow:sentiment", Address("mlflow", "sentiment")),
        ("mlflow:main.nlp.sentiment-int8", Address("mlflow", "main.nlp.sentiment-int8")),
        ("hf:team/sentiment", Address("hf", "team/sentiment")),
        ("hf:team/sentiment@v1.2", Address("hf", "team/sentiment", "v1.2")),
    ],
)
def test_addresses(text: str, found: Address) -> None:
    assert address_of(text) == found and str(found) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "sentiment",
        "hub:x/y",
        "hf:sentiment",
        "hf:a/b/c",
        "hf:../x",
        "hf:a/..",
        "hf:a/b@",
        "mlflow:",
        "mlflow:a/b",
        "mlflow:a'b",
    ],
)
def test_what_is_no_address_is_one_error(text: str, tmp_path: Path) -> None:
    with pytest.raises(InputError) as error:
        address_of(text)
    (issue,) = error.value.issues
    assert issue.code == "E146" and "mlflow:NAME" in (issue.help or "")


def test_secrets_are_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "k3y")
    text = "http://me:pass@host/x said k3y and t0ken"
    assert hidden(text, ["t0ken", None, ""]) == "http://***@host/x said *** and ***"
