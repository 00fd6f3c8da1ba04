"""The report in headless Chromium, on a phone and on a screen: no number or class is broken over two lines."""

from __future__ import annotations

from pathlib import Path

import pytest
from interop.chromium import Chromium, executable
from report_sample import sample_report

from edgeopt.report.html import render_html
from edgeopt.results.model import Agreement, Flip, Slice, Slices

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(executable() is None, reason="no Chromium: install it, or name it in EDGEOPT_CHROMIUM"),
]
#: Numbers and names of classes that stand on more than one line.
BROKEN = """(() => {
  const broken = [];
  const walk = document.createTreeWalker(document.querySelector('main'), NodeFilter.SHOW_TEXT);
  for (let node; node = walk.nextNode();)
    for (const found of node.data.matchAll(/[0-9][0-9.,]*|positive|negative/g)) {
      const range = document.createRange();
      range.setStart(node, found.index);
      range.setEnd(node, found.index + found[0].length);
      const lines = new Set([...range.getClientRects()].map(box => Math.round(box.top)));
      if (lines.size > 1 && !/^[0-9a-f]{64}$/.test(node.data)) broken.push(node.data);
    }
  return broken;
})()"""


@pytest.mark.parametrize("width", [390, 1280])
def test_no_number_is_broken(width: int, tmp_path: Path) -> None:
    flips = [
        Flip(row=row, label="negative", baseline="negative", candidate="positive", probability=0.51, texts=["a " * 99])
        for row in (7, 1234, 123456)
    ]
    zeros = dict.fromkeys(("kl", "loyalty", "calibration_error_baseline", "calibration_error_candidate"), 0.0)
    found = Agreement(rows=9, gained=0, lost=3, other=0, mcnemar_p=0.1, negative=flips, positive=[], **zeros)
    slices = [Slice(grouping="a column of the data", name=f"a long name {n}", rows=1234567) for n in range(3)]
    report = sample_report(agreement=found, slices=Slices(metric="accuracy", smallest=30, slices=slices))
    (tmp_path / "report.html").write_text(render_html(report), encoding="utf-8")
    with Chromium(tmp_path / "profile") as browser:
        browser.picture(tmp_path / "page.png", width=width, height=900)
        browser.open((tmp_path / "report.html").as_uri())
        browser.wait("document.querySelector('main')")
        assert browser.run(BROKEN) == []
        assert browser.run("document.documentElement.scrollWidth") <= width
