"""The page in headless Chromium: real keys, the real model, and the label that Python gives."""

from __future__ import annotations

import json
import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest
from e2e.running import BRIEF
from helpers import edgeopt, tiny_recipe
from interop.chromium import Chromium, executable
from interop.conftest import BUILD, Finished
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

from edgeopt.page.serve import server
from edgeopt.tasks.encode import Encoder

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(executable() is None, reason="no Chromium: install it, or name it in EDGEOPT_CHROMIUM"),
]
ROWS = 12
ANSWERED = "document.body?.dataset.state === 'answered'"
FAILED = "document.body?.dataset.state === 'error'"
HARD = [
    "",
    " ",
    "A plain text, read as it is.",
    "Crème brûlée à l'École — naïve coöperation",
    "İstanbul ﬁne ＦＵＬＬ ½ Ⅷ",
    "日本語のテキスト 和 English 混在",
    "한국어 텍스트",
    "שלום עולם مرحبا",
    "emoji 👩‍👩‍👧 🏳️‍🌈 ok",
    "tabs\tand\nlines\r\nand\u00a0spaces\u200b\u2028",
    "control\x01char\x7f \ufffd",
    "[SEP] in [MASK] a text [CLS] <s> </s>",
    "e\u0301 vs é",
    "supercalifragilisticexpialidocious" * 5,
    "it's don't we'll THEY'D (a)[b]{c} $5.00 #1 @x https://a.b/c?d=e&f",
    "word " * 90,
    "a b c d e f g",
]
#: What is searched.
SENTENCES = [
    f"{who} {what} {where}."
    for who in ("The cat", "My old neighbor", "A baker", "The bank's director", "Our teacher")
    for what in ("sleeps", "counts coins", "bakes bread with rye", "swims", "reads the news")
    for where in ("at home", "by the sea", "in the city", "early in the morning")
]
PAIRS = [[a, b] for a in HARD for b in (HARD[2], HARD[-2], HARD[-1], "")]


class _Plain(SimpleHTTPRequestHandler):
    """What `python -m http.server` does, in silence."""

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def serving(listening: ThreadingHTTPServer) -> Iterator[str]:
    with listening:
        threading.Thread(target=listening.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{listening.server_port}/"
        listening.shutdown()


@pytest.fixture(scope="module")
def page(finished: Finished, npm: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("page") / "page"
    done = edgeopt("page", finished.folder, "--out", folder)
    assert done.code == 0, done.err
    return folder


@pytest.fixture(scope="module")
def address(page: Path) -> Iterator[str]:
    """The page as any web server has it: not isolated."""
    with serving(ThreadingHTTPServer(("127.0.0.1", 0), partial(_Plain, directory=str(page)))) as found:
        yield found


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Chromium]:
    with Chromium(tmp_path / "profile") as found:
        yield found


def test_what_is_typed_gets_the_label_that_python_gives(finished: Finished, address: str, browser: Chromium) -> None:
    expected = finished.logits(count=ROWS)
    browser.open(address)
    browser.wait("document.body?.dataset.state === 'ready'")
    for row, logits in zip(finished.rows, expected, strict=False):
        browser.run("document.body.dataset.state = 'test'")
        for i, text in enumerate(row):
            browser.type(f"#text-{i}", text)
        browser.wait(ANSWERED)
        assert browser.run("document.querySelector('#answer').innerText") == finished.labels[logits.argmax()], row
        found = json.loads(browser.run("document.querySelector('#result').dataset.logits"))
        np.testing.assert_allclose(found, logits, rtol=0, atol=0.2)  # other int8 kernels round at other places
        bars = browser.run(
            "[...document.querySelectorAll('.bar')].map(b => [b.children[0].innerText, b.children[2].innerText])"
        )
        shares = np.exp(found) / np.exp(found).sum()
        assert dict(bars) == {name: f"{100 * share:.1f} %" for name, share in zip(finished.labels, shares, strict=True)}
        assert re.match(r"\d+\.\d ms · \d+ tokens", browser.run("document.querySelector('#facts').innerText"))
    assert browser.messages == []  # nothing that the security policy had to stop
    assert {url for url in browser.requested if not url.startswith(address)} <= {"about:blank"}


def test_texts_may_stand_in_the_address_and_threads_are_used_where_they_may_be(
    finished: Finished, page: Path, browser: Chromium
) -> None:
    row, expected = finished.rows[0], finished.logits(count=1)[0]
    given = "&".join(f"{name}={quote(text)}" for name, text in zip(("text", "pair"), row, strict=False))
    with serving(server(page, 0)) as isolated:
        browser.open(f"{isolated}#{given}")
        browser.wait(ANSWERED)
        assert browser.run("crossOriginIsolated")
        assert browser.run("document.querySelector('#answer').innerText") == finished.labels[expected.argmax()]
        threads = browser.run("Math.min(navigator.hardwareConcurrency, 4)")
        assert f"· {threads} thread" in browser.run("document.querySelector('#facts').innerText")
    assert browser.messages == []


def test_the_page_says_what_is_wrong(page: Path, address: str, browser: Chromium) -> None:
    browser.open((page / "index.html").as_uri())
    browser.wait(FAILED)
    assert "python3 -m http.server" in browser.run("document.querySelector('#error').innerText")
    tokenizer = page / "tokenizer.json"
    tokenizer.rename(page / "gone")
    try:
        browser.open(address)
        browser.wait(FAILED)
        assert "tokenizer.json could not be loaded: 404" in browser.run("document.querySelector('#error').innerText")
    finally:
        (page / "gone").rename(tokenizer)


@pytest.fixture(scope="module")
def searcher(npm: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run EDGEOPT_TEST_EMBEDDER, or the quickstart's model as it is in int8, and its page with 100 passages."""
    work, data = tmp_path_factory.mktemp("search"), BUILD / "quickstart"
    run = Path(os.environ.get("EDGEOPT_TEST_EMBEDDER") or work / "run")
    if not run.is_dir():
        if not (data / "validation.jsonl").is_file():
            pytest.skip(f"no model and rows in {data}: run by `make test-browser`, which lays them out")
        task = {"type": "embedding", "dataset": {"path": str(data), "max_rows": {"validation": 100}}, "text": "text"}
        recipe = tiny_recipe(
            work,
            name="search",
            model={"id": str(data / "model")},
            task={**task, "max_length": 48},
            targets=[BRIEF],
            steps=[{"use": "quantize.static", "calibration": {"samples": 32}}],
            gates=[],
        )
        done = edgeopt("apply", recipe, "--out", run, "--store", work / "store")
        assert done.code == 0, done.err
    passages = work / "passages.txt"
    passages.write_text("".join(f"{text}\n" for text in SENTENCES))
    done = edgeopt("page", run, "--out", work / "page", "--passages", passages)
    assert done.code == 0, done.err
    return work / "page"


def test_what_is_searched_has_the_order_of_the_same_model_in_python(searcher: Path, browser: Chromium) -> None:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC  # whose integer sums are exact
    session = ort.InferenceSession(searcher / "model.onnx", options)
    about = json.loads((searcher / "page.json").read_text())
    encoder = Encoder(searcher, about["max_length"])
    vectors = np.fromfile(searcher / about["search"]["vectors"], "<f4").reshape(len(SENTENCES), -1)
    with serving(server(searcher, 0)) as address:
        browser.open(address)
        browser.wait("document.body?.dataset.state === 'ready'")
        for text in ("a small animal sleeps", "how do i bake bread", "money and banks", "a trip to the sea"):
            (ids,) = encoder.ids([(about["search"]["prompt"] + text,)])
            feed = {i.name: np.array([ids[i.name]], np.int64) for i in session.get_inputs()}
            cosines = vectors @ session.run([about["output"]], feed)[0][0]
            browser.run("document.body.dataset.state = 'test'")
            browser.type("#text-0", text)
            browser.wait(ANSWERED)
            found = json.loads(
                browser.run(
                    "JSON.stringify([...document.querySelectorAll('.passages li')].map(e => "
                    "[Number(e.dataset.number), Number(e.querySelector('.share').innerText)]))"
                )
            )
            assert len(found) == 10 and browser.run("document.querySelector('#answer').hidden")
            np.testing.assert_allclose([share for _, share in found], cosines[[n for n, _ in found]], atol=0.02)
            assert found[0][0] == cosines.argmax()
            assert cosines[[n for n, _ in found]].min() > np.sort(cosines)[-11] - 0.02
    assert browser.messages == []


@pytest.mark.parametrize("kind", ["the run's", "byte-level BPE", "Unigram"])
@pytest.mark.parametrize(("max_length", "stride"), [(64, None), (17, None), (16, 5)])
def test_ids_are_those_of_tokenizers(
    kind: str,
    max_length: int,
    stride: int | None,
    finished: Finished,
    page: Path,
    address: str,
    browser: Chromium,
    tmp_path: Path,
) -> None:
    original = (page / "tokenizer.json").read_text(encoding="utf-8")
    text = original if kind == "the run's" else trained(kind)
    (tmp_path / "tokenizer.json").write_text(text, encoding="utf-8")
    encoder = Encoder(tmp_path, max_length)
    rows = [[text] for text in HARD] + PAIRS + finished.rows[:40]
    if stride is None:
        expected = [[query] for query in encoder.ids([tuple(row) for row in rows])]
    else:
        features = encoder.windows([tuple(row) for row in rows], stride)
        expected = [
            [query for query, of in zip(features.ids, features.rows, strict=True) if of == i] for i in range(len(rows))
        ]
    browser.open(address + "page.css")  # any page of that origin; its own policy allows no scripts from here
    found = browser.run(f"""(async () => {{
      const {{ Encoder }} = await import('{address}encode.js');
      const {{ Tokenizer }} = await import('{address}lib/tokenizers.js');
      const encoder = new Encoder(new Tokenizer({text}, {{}}), {max_length}, {json.dumps(stride)});
      return {json.dumps(rows)}.map((row) => encoder.encode(row).queries);
    }})()""")
    wrong = [(row, a, b) for row, a, b in zip(rows, expected, found, strict=True) if a != b]
    assert not wrong, f"{len(wrong)} of {len(rows)}; {wrong[:2]}"


def trained(kind: str) -> str:
    """A small tokenizer of another kind than BERT's, over the hard texts."""
    if kind == "Unigram":
        tokenizer = Tokenizer(models.Unigram())
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
        trainer: trainers.Trainer = trainers.UnigramTrainer(
            vocab_size=180, special_tokens=["<s>", "</s>", "<unk>"], unk_token="<unk>", show_progress=False
        )
    else:
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer, tokenizer.decoder = (
            pre_tokenizers.ByteLevel(add_prefix_space=False),
            decoders.ByteLevel(),
        )
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        trainer = trainers.BpeTrainer(
            vocab_size=400, special_tokens=["<s>", "</s>"], initial_alphabet=alphabet, show_progress=False
        )
    tokenizer.train_from_iterator(HARD, trainer)
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 1), ("<s>", 0), add_prefix_space=False)
    return str(tokenizer.to_str())
