"""What a reader of a report should know of a training on plain text."""

from __future__ import annotations

from math import exp

from edgeopt.corpus.seen import rows_seen
from edgeopt.data import Split
from edgeopt.results.figures import HELD_OUT, PROBE_CURVE, Told, told
from edgeopt.run.execute import Done
from edgeopt.store.store import Store

#: A loss from which on nobody reads the perplexity as a number.
_MANY = 14.0


def text_notes(done: Done, report: Split) -> list[str]:
    """What the training brought, whether it went well, and whether it has read texts of the report split."""
    known = told(done.state.figures)
    if (text := known.get("corpus")) is None:
        return []
    read = f"'{done.step.id}' was trained on {text['tokens_seen']:,} tokens of {text['name']}."
    notes = [f"{read} {_held_out(known)}"]
    notes += [note for of in (_divergence, _probe, _corruption) for note in of(done.step.id, known)]
    seen = rows_seen(Store(done.state.folder.parents[1]).corpora / text["address"], report)
    if seen is None:
        notes.append(
            f"The text of '{done.step.id}' is not in the store any more: whether texts of {report.name} are in it is "
            "not known."
        )
    elif seen:
        notes.append(
            f"The texts of {seen} of {len(report)} {report.name} rows are also in the text of '{done.step.id}', which "
            "has read them without their labels. For new texts the metrics may be lower."
        )
    return notes


def _held_out(known: Told) -> str:
    """How well the model does on text that the training only looked at."""
    curves = known.get("curves", {})
    ends = {
        name.removeprefix(HELD_OUT): (curve[0][1], curve[-1][1])
        for name, curve in curves.items()
        if name.startswith(HELD_OUT)
    }
    if not ends:
        return "No text was held out."
    before, after = ends["loss"]
    worse = " It is worse than before: lower learning_rate, or give more text." if after > before else ""
    last = {name: values[1] for name, values in ends.items()}
    if "recall" not in last:
        return (
            f"On held-out text the loss of its guesses went from {before:.3f} to {after:.3f} (perplexity "
            f"{_perplexity(before)} to {_perplexity(after)}), and {last['accuracy']:.1%} of them are right.{worse}"
        )
    finds = (
        f"It finds {last['recall']:.1%} of these, and {last['precision']:.1%} of what it calls replaced is."
        if last["recall"]
        else "It finds none of these."
    )
    return (
        f"On held-out text the loss of the detection went from {before:.3f} to {after:.3f}. It is right about "
        f"{last['accuracy']:.1%} of the tokens, of which {last['replaced']:.1%} are replaced. {finds} The auxiliary "
        f"model guesses {last['auxiliary_accuracy']:.1%} of the hidden tokens.{worse}"
    )


def _perplexity(loss: float) -> str:
    return f"{exp(loss):,.1f}" if loss < _MANY else "millions"


def _divergence(step: str, known: Told) -> list[str]:
    """A note on a training whose loss rose far above its lowest."""
    if (found := known.get("divergence")) is None:
        return []
    return [
        f"The training of '{step}' diverged: at optimizer step {found['step']} its loss was {found['loss']:.3f}, and "
        f"at step {found['lowest_step']} it had been {found['lowest']:.3f}. In the end it was {found['last']:.3f}. "
        "Lower learning_rate, or raise warmup_ratio."
    ]


def _probe(step: str, known: Told) -> list[str]:
    """A note on copies that were fine-tuned."""
    found, curve = known.get("probe"), known.get("curves", {}).get(PROBE_CURVE)
    if found is None or not curve:
        return []
    return [
        f"Copies of the model in '{step}' were fine-tuned to see what it had learned. On {found['rows']} rows held out "
        f"of train, {found['metric']} was {curve[0][1]:.4f} in the beginning and {curve[-1][1]:.4f} in the end, with "
        "one seed."
    ]


def _corruption(step: str, known: Told) -> list[str]:
    """A note on tokens that were replaced before the training."""
    if (made := known.get("corruption")) is None:
        return []
    return [
        f"For '{step}' the auxiliary model replaced tokens of {made['rows']:,} rows before the training. That took "
        f"{made['processor_seconds']:,.1f} s of processor time, once, and takes {made['bytes'] / 1e6:,.2f} MB in the "
        "store. The training's own figures leave it out."
    ]
