"""Metrics of two models on the same rows, with bounds on the difference. numpy alone."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from edgeopt.statistics.bootstrap import bootstrap
from edgeopt.statistics.bounds import Bounds, Values, accuracy_difference, normal_quantile, paired_proportions

#: Rows below which the bounds of a correlation are not to be believed: with fewer, nothing is ruled out.
FEWEST_SCORES = 30
#: Of how many of the rarest classes, and of the most frequent, errors are thought of; and rows from which a share is as
#: good as normal.
_KINDS = 3
_MANY = 1000


def metric_difference(
    name: str, truth: Values, base: Values, candidate: Values, classes: int, confidence: float
) -> Bounds:
    """Candidate's metric minus baseline's on the same rows, with its bounds.

    They are Tango's interval for accuracy, else a paired bootstrap, BCa, of 10,000 resamples, but no narrower than what
    rows that nobody has seen may do. truth, base, candidate: class numbers or scores, shape (rows,).
    """
    if name == "accuracy":
        return accuracy_difference(base == truth, candidate == truth, confidence)
    unseen = paired_proportions(0, 0, len(truth), confidence).high
    if name in ("pearson", "spearman"):
        both = _correlations(name, truth, [base, candidate])
        before, after = both(np.ones((1, len(truth))))[:, 0]
        if len(truth) < FEWEST_SCORES:
            return Bounds(after - before, -2.0, 2.0)
        found = bootstrap(lambda w: np.diff(both(w), axis=0)[0], np.ones(len(truth)), confidence)
        return _sparse(found, max(abs(before), abs(after)), len(truth), confidence)
    cells, counts = _joint([truth, base, candidate], classes)
    found = bootstrap(
        lambda w: (
            margin_metric(name, *_margins(cells, w, classes, 2)) - margin_metric(name, *_margins(cells, w, classes, 1))
        ),
        counts,
        confidence,
    )
    rows = unseen * len(truth)
    effect = metric_of(name, truth, candidate, classes) - min(
        _moved(name, truth, candidate, classes, lambda wrong, right: min(rows, right))
    )
    return no_narrower(found, effect)


def metric_bounds(name: str, truth: Values, predicted: Values, classes: int, confidence: float) -> Bounds:
    """A metric with its bounds: Wilson's score interval for accuracy, else a bootstrap, BCa.

    That knows nothing of errors that are in none of these rows: of each kind of error there may be as many as the exact
    bound says (Clopper and Pearson 1934).
    """
    n = len(truth)
    if name == "accuracy":
        return proportion(float(np.mean(truth == predicted)), n, confidence)
    if name in ("pearson", "spearman"):
        alone = _correlations(name, truth, [predicted])
        if n < FEWEST_SCORES:
            return Bounds(float(alone(np.ones((1, n)))[0, 0]), -1.0, 1.0)
        found = bootstrap(lambda w: alone(w)[0], np.ones(n), confidence)
        value, low, high = _sparse(found, abs(found.value), n, confidence)
        return Bounds(value, max(low, -1.0), min(high, 1.0))
    cells, counts = _joint([truth, predicted], classes)
    found = bootstrap(lambda w: margin_metric(name, *_margins(cells, w, classes, 1)), counts, confidence)
    worse = _moved(
        name, truth, predicted, classes, lambda wrong, right: min(n * most_unseen(wrong, n, confidence) - wrong, right)
    )
    better = _moved(name, truth, predicted, classes, lambda wrong, right: n * least_seen(wrong, n, confidence) - wrong)
    return Bounds(found.value, min(found.low, *worse), max(found.high, *better))


def proportion(p: float, n: int, confidence: float) -> Bounds:
    """A share p of n with its bounds: Wilson's score interval (Wilson 1927)."""
    z = normal_quantile(confidence)
    middle, half = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return Bounds(p, (middle - half) / (1 + z * z / n), (middle + half) / (1 + z * z / n))


def counted_difference(base: Values, candidate: Values, value: Callable[[Values], Values], confidence: float) -> Bounds:
    """The difference of both models in a metric, from 0 to 1, of sums over rows, such as the F1 of entities.

    Its bounds are of a paired bootstrap. base, candidate: what each row adds, shape (rows, counts). value: sums of
    shape (draws, counts) to (draws,). Where there is one row alone, of which every resample is the same, nothing is
    ruled out.
    """
    if len(base) == 1:
        return Bounds(float((value(candidate) - value(base))[0]), -1.0, 1.0)
    found = bootstrap(lambda w: value(w @ candidate) - value(w @ base), np.ones(len(base)), confidence)
    return no_narrower(found, paired_proportions(0, 0, len(base), confidence).high)


def counted_bounds(counts: Values, value: Callable[[Values], Values], confidence: float) -> Bounds:
    """A metric, from 0 to 1, of sums over rows with its bounds, by a bootstrap of the rows.

    As many of those that have anything to count as may be unseen may also be all wrong, or all right.
    """
    if len(counts) == 1:
        return Bounds(float(value(counts)[0]), 0.0, 1.0)
    found = bootstrap(lambda w: value(w @ counts), np.ones(len(counts)), confidence)
    unseen = most_unseen(0, max(int(np.sum(counts.any(axis=1))), 1), confidence)
    return Bounds(
        found.value,
        min(found.low, found.value * (1 - unseen)),
        max(found.high, found.value + (1 - found.value) * unseen),
    )


def most_unseen(seen: int, rows: int, confidence: float) -> float:
    """The largest share of rows that are of a kind of which so many were seen.

    It is the exact upper bound of Clopper and Pearson (1934). At a confidence of .5, where bounds are the estimate, it
    is the share that was seen.
    """
    return _share(seen, rows, confidence, lambda p: _no_more(seen, rows, p) > 1 - confidence)


def least_seen(seen: int, rows: int, confidence: float) -> float:
    """The smallest share of rows that are of a kind of which so many were seen, as `most_unseen` has the largest."""
    return _share(seen, rows, 1 - confidence, lambda p: seen > 0 and _no_more(seen - 1, rows, p) > confidence)


def _share(seen: int, rows: int, confidence: float, larger: Callable[[float], bool]) -> float:
    """The share of rows up to which `larger` holds, by bisection; Wilson's of so many rows that they agree."""
    if confidence == 0.5:
        return seen / rows
    if seen > _MANY:
        return proportion(seen / rows, rows, confidence).high
    low, high = 0.0, 1.0
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if larger(middle) else (low, middle)
    return high


def _no_more(seen: int, rows: int, p: float) -> float:
    """How likely no more than so many rows are of a kind of which the share is p, between 0 and 1."""
    if seen >= rows:
        return 1.0
    logs = [
        math.lgamma(rows + 1)
        - math.lgamma(k + 1)
        - math.lgamma(rows - k + 1)
        + k * math.log(p)
        + (rows - k) * math.log1p(-p)
        for k in range(seen + 1)
    ]
    return float(np.sum(np.exp(logs)))


def no_narrower(found: Bounds, half: float) -> Bounds:
    """Bounds at least `half` wide to each side: what as many rows as may be unseen do.

    Where rows tell two models apart rarely or never, resamples are alike, and a bootstrap is sure that they stay so.
    """
    return Bounds(found.value, min(found.low, found.value - half), max(found.high, found.value + half))


def _sparse(found: Bounds, size: float, rows: int, confidence: float) -> Bounds:
    """The bounds of a correlation of that size, which is lost for every row that is answered at random.

    Few such rows make the bootstrap too sure: one may happen to be near its label, so that it is as if none had been
    seen; and where some were, half of those that may be unseen are on top.
    """
    if confidence == 0.5:
        return found
    more = size * most_unseen(0, rows, confidence) / 2
    return no_narrower(
        Bounds(found.value, found.low - more, found.high + more), size * most_unseen(1, rows, confidence)
    )


def metric_of(name: str, truth: Values, predicted: Values, classes: int) -> float:
    """The metric of predicted classes, shape (rows,)."""
    return float(margin_metric(name, *_margins(*_joint([truth, predicted], classes), classes, 1))[0])


def _moved(name: str, truth: Values, predicted: Values, classes: int, rows: Callable[[int, int], float]) -> list[float]:
    """The metric with rows of one class moved from the right answer to another one, for each such kind of error.

    The kinds are those between the classes that are rarest and most frequent, which do most and least. rows: how many,
    by those of the kind that are wrong, and of the class that are right; fewer than none are made right.
    """
    hit, true, answered = (x[0] for x in _margins(*_joint([truth, predicted], classes), classes, 1))
    order = np.argsort(np.where(true > 0, true, np.inf), kind="stable")[: int(np.sum(true > 0))].tolist()
    some = list(dict.fromkeys([*order[:_KINDS], *order[-_KINDS:], *(range(2) if classes == 2 else ())]))
    kinds = [(a, b) for a in some if true[a] for b in some if a != b]
    hits, answers = (np.tile(x, (len(kinds) + 1, 1)) for x in (hit, answered))
    for i, (a, b) in enumerate(kinds):
        far = rows(int(np.sum((truth == a) & (predicted == b))), int(hit[a]))
        hits[i, a] -= far
        answers[i, a] -= far
        answers[i, b] += far
    return [float(x) for x in margin_metric(name, hits, np.tile(true, (len(hits), 1)), answers)]


def _joint(columns: list[Values], classes: int) -> tuple[Values, Values]:
    """Distinct rows of the columns, shape (cells, columns), and how often each occurs: like rows share a cell."""
    return np.unique(np.stack([c.astype(int) for c in columns], axis=1), axis=0, return_counts=True)


def _margins(cells: Values, counts: Values, classes: int, which: int) -> tuple[Values, Values, Values]:
    """Right answers, rows and answers of each class, shapes (draws, classes), of column `which` of the cells.

    They are all that the metrics need of a confusion matrix, which thousands of classes would make too large. counts:
    (draws, cells), or (cells,) for one.
    """
    counts = np.atleast_2d(counts)
    truth, answer = cells[:, 0], cells[:, which]
    right = truth == answer
    return (
        _summed(truth[right], counts[:, right], classes),
        _summed(truth, counts, classes),
        _summed(answer, counts, classes),
    )


def _summed(column: Values, counts: Values, classes: int) -> Values:
    """The counts by the class that the column names, shape (draws, classes)."""
    out = np.zeros((len(counts), classes))
    order = np.argsort(column, kind="stable")
    present, starts = np.unique(column[order], return_index=True)
    if len(present):
        out[:, present] = np.add.reduceat(counts[:, order], starts, axis=1)
    return out


def confusion_metric(name: str, matrix: Values) -> Values:
    """The metric of each confusion matrix, shape (draws, truth, predicted)."""
    return margin_metric(name, np.einsum("dii->di", matrix), matrix.sum(2), matrix.sum(1))


def margin_metric(name: str, hit: Values, true: Values, predicted: Values) -> Values:
    """f1, precision, recall or matthews of each draw, from right answers, rows and answers of each class.

    Their shapes are (draws, classes). It is that of class 1 where there are two classes, else the classes' mean, as
    scikit-learn has it with zero_division=0.
    """
    if name == "matthews":
        total = true.sum(1)
        top = hit.sum(1) * total - (true * predicted).sum(1)
        bottom = np.sqrt(total**2 - (predicted**2).sum(1)) * np.sqrt(total**2 - (true**2).sum(1))
        return np.clip(_divide(top, bottom), -1, 1)  # rounding may leave a perfect one above 1
    precision, recall = _divide(hit, predicted), _divide(hit, true)
    values = {"precision": precision, "recall": recall, "f1": _divide(2 * hit, predicted + true)}[name]
    return values[:, 1] if hit.shape[1] == 2 else values.mean(1)


def _divide(top: Values, bottom: Values) -> Values:
    return np.asarray(np.divide(top, bottom, out=np.zeros(np.shape(top)), where=bottom > 0))


def _correlations(name: str, truth: Values, predictions: list[Values]) -> Callable[[Values], Values]:
    """Each prediction's correlation with the truth, (predictions, draws), as a function of weights (draws, rows).

    It is Pearson's, or Spearman's with the ranks that rows have in the resample.
    """
    columns = [_ranks(x) if name == "spearman" else _standard(x) for x in (truth, *predictions)]

    def correlations(weights: Values) -> Values:
        one, *others = (column(weights) for column in columns)
        return np.stack([_pearson(weights, one, other) for other in others])

    return correlations


def _standard(values: Values) -> Callable[[Values], Values]:
    """The values, of mean 0 and deviation 1 over all rows, whatever the weights."""
    values = moderate(values)
    moved = (values - np.mean(values)) / (np.std(values) or 1.0)
    return lambda weights: moved


def moderate(values: Values) -> Values:
    """The values over the largest, so that no square of one overflows."""
    return np.asarray(values / (float(np.max(np.abs(values), initial=0.0)) or 1.0), dtype=float)


def is_constant(scores: Values) -> bool:
    """Whether scores are all the same but for the rounding of float32, in which they were computed."""
    most = float(np.max(np.abs(scores), initial=0.0))
    return bool(np.ptp(moderate(scores)) <= 4 * np.finfo(np.float32).eps) if most else True


def _pearson(weights: Values, a: Values, b: Values) -> Values:
    """Correlation of a and b, (rows,) or (draws, rows), with each row of weights (draws, rows)."""

    def mean(x: Values) -> Values:
        return np.asarray((weights @ x if x.ndim == 1 else np.einsum("dr,dr->d", weights, x)) / total)

    total = weights.sum(1)
    mean_a, mean_b = mean(a), mean(b)
    spread = np.sqrt(np.maximum(mean(a * a) - mean_a**2, 0) * np.maximum(mean(b * b) - mean_b**2, 0))
    found = np.divide(mean(a * b) - mean_a * mean_b, spread, out=np.zeros(len(total)), where=spread > 1e-12)
    return np.asarray(np.clip(found, -1, 1))


def _ranks(values: Values) -> Callable[[Values], Values]:
    """Each row's middle rank in a resample, as a share of the rows, about 0: a function of weights (draws, rows)."""
    order = np.argsort(values, kind="stable")
    group = np.unique(values, return_inverse=True)[1]
    starts = np.r_[0, np.bincount(group).cumsum()[:-1]]

    def ranks(weights: Values) -> Values:
        # transposed, because whole rows of memory are quicker to put in order than single numbers
        sizes = np.ascontiguousarray(weights.T)[order]
        if len(starts) < len(order):
            sizes = np.add.reduceat(sizes, starts, axis=0)
        middle = (sizes.cumsum(0) - sizes / 2) / len(values) - 0.5
        return np.ascontiguousarray(middle[group].T)

    return ranks
