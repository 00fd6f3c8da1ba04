"""Clusters out of links between mentions, and MUC, B³ and CEAFe of clusters: the CoNLL-2012 score.

Pradhan et al. 2014, "Scoring coreference partitions of predicted mentions", sections 2 and 3.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from edgeopt.tasks.base import Values
from edgeopt.tasks.counted import ratio

Clusters = Sequence[frozenset[int]]
#: Sums a metric: (recall's numerator and denominator, precision's).
Sums = tuple[float, float, float, float]


def best_first(links: Iterable[tuple[int, int, float]]) -> dict[int, int]:
    """The cluster of each mention, named by its first one.

    links: (anaphor, antecedent, score), nearest antecedent first. Every anaphor joins the antecedent of the highest
    score, the nearest of several, where that is above 0 (Ng and Cardie 2002).
    """
    best: dict[int, tuple[float, int]] = {}
    mentions = set()
    for anaphor, antecedent, score in links:
        mentions |= {anaphor, antecedent}
        if score > best.get(anaphor, (0.0, 0))[0]:
            best[anaphor] = score, antecedent
    cluster: dict[int, int] = {}
    for mention in sorted(mentions):  # an antecedent stands before its anaphor
        cluster[mention] = cluster[best[mention][1]] if mention in best else mention
    return cluster


def clusters(cluster_of: Mapping[int, int]) -> Clusters:
    """The clusters out of the cluster of each mention. One that is alone makes none, as CoNLL-2012 annotates none."""
    found: dict[int, set[int]] = {}
    for mention, cluster in cluster_of.items():
        found.setdefault(cluster, set()).add(mention)
    return [frozenset(c) for c in found.values() if len(c) > 1]


def muc(key: Clusters, response: Clusters) -> Sums:
    """MUC: the links that are right, of those that hold the clusters together (Vilain et al. 1995)."""
    return (*_links(key, response), *_links(response, key))


def _links(clusters: Clusters, others: Clusters) -> tuple[float, float]:
    place = {mention: i for i, other in enumerate(others) for mention in other}
    # a mention in no other cluster is a part of its own
    parts = (len({place.get(m, -1 - m) for m in c}) for c in clusters)
    total = sum(map(len, clusters))
    return float(total - sum(parts)), float(total - len(clusters))


def b_cubed(key: Clusters, response: Clusters) -> Sums:
    """B³: the share of its cluster that is right, for each mention (Bagga and Baldwin 1998)."""
    return (*_shares(key, response), *_shares(response, key))


def _shares(clusters: Clusters, others: Clusters) -> tuple[float, float]:
    return sum(len(c & o) ** 2 / len(c) for c in clusters for o in others), float(sum(map(len, clusters)))


def ceaf_e(key: Clusters, response: Clusters) -> Sums:
    """CEAFe: the similarity of the clusters in the best one-to-one alignment (Luo 2005, with his φ4)."""
    from scipy.optimize import linear_sum_assignment

    similar = np.array([[2 * len(k & r) / (len(k) + len(r)) for r in response] for k in key]).reshape(
        len(key), len(response)
    )
    found = float(similar[linear_sum_assignment(similar, maximize=True)].sum())
    return found, float(len(key)), found, float(len(response))


def sums(key: Clusters, response: Clusters) -> Values:
    """The sums that a document adds to MUC, B³ and CEAFe, shape (12,)."""
    return np.array([metric(key, response) for metric in (muc, b_cubed, ceaf_e)]).ravel()


def conll_f1(counts: Values) -> Values:
    """The mean of the F1 of MUC, B³ and CEAFe, out of what `sums` gives: (draws, 12) to (draws,)."""
    found, key, right, response = np.moveaxis(counts.reshape(-1, 3, 4), 2, 0)
    recall, precision = ratio(found, key), ratio(right, response)
    values: Values = ratio(2 * precision * recall, precision + recall).mean(1)
    return values
