"""What int8 may cost without a word: each is looked for, and said with its mend."""

from __future__ import annotations

import platform
from collections.abc import Sequence

from edgeopt.gates.evidence import Evidence
from edgeopt.plan.steps import PlannedStep
from edgeopt.results.figures import told
from edgeopt.results.model import Speedup
from edgeopt.run.execute import Done
from edgeopt.store.facts import Fact
from edgeopt.support import host

#: Share of rows on which a graph must predict what the model that it was made of predicts.
SAME_PREDICTIONS = 0.995


def int8_notes(steps: Sequence[Done], evidence: Evidence, speedups: Sequence[Speedup]) -> list[str]:
    """What a candidate in int8 may lose without a word, each with its mend; nothing for another candidate.

    It is slower than FP32 on a target, its sums may overflow on this processor, or nothing held its policy's margin.
    steps: of the candidate's chain. speedups: over the FP32 graph.
    """
    if evidence.candidate.precision != "int8":
        return []
    notes = []
    if slow := [s for s in speedups if s.high < 1.0]:
        kept = any(told(done.state.figures).get("kept_float") for done in steps)
        mend = "leave fewer nodes in FP32" if kept else "widen the scope"
        where = ", ".join(f"{s.target} at {s.sequence}" for s in slow)
        notes.append(f"int8 is slower than FP32 on {where}: compare quantize.dynamic with quantize.static, or {mend}.")
    if not host.cpu_flags() & set(host.INT8_FLAGS):
        wide = [
            s.id
            for s in (done.step for done in steps)
            if _quantizes(s) and not getattr(s.params, "reduce_range", False)
        ]
        if platform.machine().lower() in ("x86_64", "amd64") and wide:
            notes.append(
                "This CPU has no int8 dot product (VNNI): sums of products of 8-bit numbers may overflow 16 bits "
                "here (saturate). So the accuracy may differ from that of a device with VNNI. Set `reduce_range: true` "
                f"on '{wide[-1]}' (weights in 7 bits), or measure on the device."
            )
        else:
            notes.append(
                "This CPU has no int8 dot product (VNNI or dotprod): int8 is slow here. Measure on the device."
            )
    for done in steps:
        known = told(done.state.figures)
        parity, policy = known.get("parity"), known.get("policy")
        same = (
            parity.get("same_predictions")
            if parity and _quantizes(done.step) and done.step.transform.trains(done.step.params)
            else None
        )
        if parity and same is not None and same < SAME_PREDICTIONS:
            notes.append(
                f"On {1 - same:.1%} of {parity['compared']} train rows the int8 graph predicts another class than the "
                f"quantized model that '{done.step.id}' trained: sums in another order are rounded to the neighboring "
                "integer. Train longer, so that fewer rows are near the border between classes."
            )
        if policy and policy["held"] is None:
            margin = ", ".join(f"{name} {value:g}" for name, value in policy["tolerance"].items() if name != "rows")
            notes.append(
                f"{policy['queries']} selection rows cannot tell whether '{done.step.id}' is within {margin}: "
                f"of the settings that cost no speed, the one with the smallest KL was shipped "
                f"({policy['chosen']})."
            )
        if policy and policy["held"] is False:
            margin = ", ".join(f"{name} {value:g}" for name, value in policy["tolerance"].items() if name != "rows")
            notes.append(
                f"No setting of '{done.step.id}' came within {margin}; the closest was shipped ({policy['chosen']}). "
                "Train with quantization in the loop: quantize.qat."
            )
    return notes


def _quantizes(step: PlannedStep) -> bool:
    return Fact.INT8 in step.contract.adds
