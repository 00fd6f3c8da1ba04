"""What a ranking is worth: nDCG@10, MRR@10, recall@10 and MAP, as trec_eval and BEIR define them. numpy alone.

Ties are broken by a fixed draw, which is the same for every model. By the order of a file that has the relevant
passages first, a model that reads nothing would be perfect.
"""

from __future__ import annotations

import numpy as np

from edgeopt.statistics.bounds import Values

#: The first places of a ranking that metrics look at, and the metrics, in the order that `worth` gives them in.
CUT = 10
METRICS = (f"ndcg@{CUT}", f"mrr@{CUT}", f"recall@{CUT}", "map")
#: Digits of a score that count: two equal embeddings have equal scores, in whatever order a product is summed up.
_DIGITS = 9
#: Queries and passages that are compared at once.
_QUERIES, _PASSAGES = 128, 4096


def drawn_order(count: int) -> Values:
    """The place of each of so many things where their scores say nothing, from 0."""
    return np.random.default_rng(0).permutation(count)


def worth(owner: Values, ranks: Values, grades: Values, queries: int) -> Values:
    """The metrics of each query, (queries, 4), from the ranks and grades of all its relevant passages.

    owner: the query that each relevant passage is one of. ranks: from 1. grades: above 0; nDCG's gain is the grade
    itself. A query without a relevant passage gets 0.
    """

    def summed(values: Values) -> Values:
        return np.bincount(owner, weights=values, minlength=queries)

    many, near = np.maximum(summed(np.ones(len(owner))), 1), ranks <= CUT
    best = _within(owner, -grades)
    ideal = summed(np.where(best <= CUT, grades / np.log2(best + 1), 0.0))
    found = summed(np.where(near, grades / np.log2(ranks + 1), 0.0))
    first = np.zeros(queries)
    np.maximum.at(first, owner, np.where(near, 1 / ranks, 0.0))
    return np.stack(
        [
            np.divide(found, ideal, out=np.zeros(queries), where=ideal > 0),
            first,
            summed(near.astype(float)) / many,
            summed(_within(owner, ranks) / ranks) / many,
        ],
        axis=1,
    )


def _within(owner: Values, keys: Values) -> Values:
    """The place of each value among those of its owner, the least first, from 1."""
    return ranked(owner, -keys, np.arange(len(owner)))


def ranked(owner: Values, scores: Values, order: Values) -> Values:
    """The rank of each row among those of its owner, the highest score first, from 1. order: what decides of ties."""
    sort = np.lexsort((order, -scores, owner))
    grouped = owner[sort]
    starts = np.flatnonzero(np.r_[True, grouped[1:] != grouped[:-1]]) if len(sort) else sort
    place = np.arange(len(sort)) - np.repeat(starts, np.diff(np.r_[starts, len(sort)]))
    ranks = np.empty(len(sort))
    ranks[sort] = place + 1
    return ranks


def search(queries: Values, passages: Values, owner: Values, wanted: Values) -> Values:
    """The rank of each relevant passage when all passages are ordered by their cosine to its query, from 1.

    It is exact, and in blocks, so that memory does not grow with queries times passages. queries, passages: (count,
    width). owner, wanted: query and passage of each relevant pair, in the order of the queries.
    """
    order, ranks = drawn_order(len(passages)), np.ones(len(owner))
    own = np.empty(len(owner))
    for rows in _blocks(len(owner), _PASSAGES):
        pairs = unit(queries[owner[rows]]), unit(passages[wanted[rows]])
        own[rows] = np.round(np.einsum("id,id->i", *pairs), _DIGITS)
    for block in _blocks(len(passages), _PASSAGES):
        there, places = unit(passages[block]), order[block]
        for some in _blocks(len(queries), _QUERIES):
            scores = np.round(unit(queries[some]) @ there.T, _DIGITS)
            pairs_of = slice(*np.searchsorted(owner, [some.start, some.stop]))
            for pair in range(pairs_of.start, pairs_of.stop):
                row, before = scores[owner[pair] - some.start], places < order[wanted[pair]]
                if block.start <= wanted[pair] < block.stop:
                    row[wanted[pair] - block.start] = own[pair]
                ranks[pair] += np.count_nonzero((row > own[pair]) | ((row == own[pair]) & before))
    return ranks


def nearest(queries: Values, passages: Values, *, same: bool = False) -> Values:
    """The numbers of the first passages for each query, (queries, 10 or as many as there are), ordered by cosine.

    same: whether query i is passage i, which is then left out.
    """
    order, kept = drawn_order(len(passages)), min(CUT, len(passages) - same)
    found = []
    for some in _blocks(len(queries), _QUERIES):
        rows = np.arange(some.start, some.stop)[:, None]
        numbers = np.empty((len(rows), 0), dtype=int)
        scores = np.empty((len(rows), 0))
        for block in _blocks(len(passages), _PASSAGES):
            new = np.broadcast_to(np.arange(block.start, block.stop), (len(rows), block.stop - block.start))
            products = np.round(unit(queries[some]) @ unit(passages[block]).T, _DIGITS)
            numbers = np.concatenate([numbers, new], axis=1)
            scores = np.concatenate([scores, np.where(same & (new == rows), -np.inf, products)], axis=1)
            first = np.lexsort((order[numbers], -scores), axis=-1)[:, :kept]
            numbers, scores = (np.take_along_axis(x, first, axis=1) for x in (numbers, scores))
        found.append(numbers)
    return np.concatenate(found)


def _blocks(count: int, size: int) -> list[slice]:
    return [slice(start, min(start + size, count)) for start in range(0, count, size)]


def unit(vectors: Values) -> Values:
    """The vectors of length 1, in double precision; one of length 0 stays."""
    wide = np.asarray(vectors, dtype=np.float64)
    with np.errstate(invalid="ignore"):
        length = np.linalg.norm(wide, axis=-1, keepdims=True)
        return np.asarray(wide / np.where(length > 0, length, 1.0))
