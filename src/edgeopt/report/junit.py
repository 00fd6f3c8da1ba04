"""Gates as a JUnit file, the form in which CI servers take the results of tests: a case for each gate."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Sequence
from pathlib import Path

from edgeopt.report.gate_text import title
from edgeopt.report.suite import Suite
from edgeopt.support.user_files import JUNIT, write_output

#: What XML 1.0 has no way of writing (section 2.2).
_NOT_XML = {c: "\ufffd" for c in [*range(0x20), 0xFFFE, 0xFFFF, *range(0xD800, 0xE000)] if c not in (0x9, 0xA, 0xD)}


def junit(suites: Sequence[Suite]) -> str:
    """The gates of each recipe as a suite, in the form of Jenkins' xUnit plugin (junit-10.xsd).

    A failed gate is a failure; an inconclusive one is an error, as nobody may take it for passed, and so is a recipe
    that did not come to its gates.
    """
    root = ET.Element("testsuites", name="edgeopt")
    for suite in suites:
        verdicts = [g.verdict for g in suite.gates]
        counts = {
            "tests": len(verdicts) + bool(suite.problem),
            "failures": verdicts.count("fail"),
            "errors": verdicts.count("inconclusive") + bool(suite.problem),
            "skipped": 0,
        }
        cases = ET.SubElement(
            root, "testsuite", {"name": _text(suite.name), **{name: str(count) for name, count in counts.items()}}
        )
        if suite.model:
            about = ET.SubElement(cases, "properties")
            ET.SubElement(about, "property", name="model", value=_text(suite.model))
        for gate in suite.gates:
            case = _case(cases, suite, title(gate))
            if gate.verdict == "pass":
                ET.SubElement(case, "system-out").text = _text(
                    "\n".join([gate.reason, *(f"WARNING: {w}" for w in suite.warnings)])
                )
            else:
                _wrong(case, "failure" if gate.verdict == "fail" else "error", gate.verdict, gate.reason)
        if suite.warnings:
            ET.SubElement(cases, "system-out").text = _text("\n".join(f"WARNING: {w}" for w in suite.warnings))
        if suite.problem:
            _wrong(_case(cases, suite, "run"), "error", "error", suite.problem)
    ET.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _case(cases: ET.Element, suite: Suite, name: str) -> ET.Element:
    return ET.SubElement(cases, "testcase", name=_text(name), classname=_text(f"edgeopt.{suite.name}"))


def _wrong(case: ET.Element, kind: str, type_: str, reason: str) -> None:
    ET.SubElement(case, kind, type=type_, message=_text(reason)).text = _text(reason)


def write_junit(path: Path, suites: Sequence[Suite]) -> None:
    """Writes the suites as a JUnit file. Raises InputError E114 or E156."""
    write_output("--junit", path, JUNIT, junit(suites))


def _text(text: str) -> str:
    return text.translate(_NOT_XML)
