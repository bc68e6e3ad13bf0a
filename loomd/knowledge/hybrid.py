"""Fusion of rankings into one: by scores, or by ranks alone. Pure."""

from collections.abc import Iterable, Sequence

from loomd.knowledge.question import Parts, Question, Ranked

Ranking = Sequence[tuple[int, float]]
"""Ids with their scores, best first."""


def fused(asked: Question, parts: Parts) -> Ranked:
    """Return all that the parts of a search found in one order; what finds nothing at all has no say.

    Without a vector that says something, a hybrid search goes by words, also when these have no weight beside vectors;
    its scores are shares of the best as ever.
    """
    how, graph = asked.how, asked.graph
    is_hybrid, lists = how.mode == "hybrid", list[tuple[Ranked, float]]()
    has_vector = how.mode != "keyword" and asked.vector is not None and bool(asked.vector.any())
    if how.mode != "vector":
        weight = how.keyword_weight if has_vector else how.keyword_weight or how.vector_weight
        lists.append((parts.words, weight if is_hybrid else 1.0))
    if has_vector:
        lists.append((parts.close, how.vector_weight if is_hybrid else 1.0))
    if graph is not None and parts.graph:
        lists.append((parts.graph, graph.weight * parts.certainty))
    if len(lists) < 2 and not is_hybrid:
        return lists[0][0] if lists else []
    return fuse(lists, how.rrf_k) if how.fusion == "ranks" else blend(lists, how.sharpness, asked.wanted)


def blend(rankings: Iterable[tuple[Ranking, float]], sharpness: float, limit: int) -> list[tuple[int, float]]:
    """Return ids with the weighted mean of their scores, best first.

    A score counts as its share of the best in its ranking, raised to the power of `sharpness`.

    An id that a ranking does not hold counts there as much as the last one, if the ranking was cut off: it cannot be
    better; and nothing, if the ranking has all that was found. So 1.0 means best everywhere. Equal scores keep the
    order of the first ranking.

    Args:
        rankings: each with its weight; the weights may not all be 0.
        sharpness: the larger, the more the best of each ranking count.
        limit: length at which the rankings were cut off.
    """
    shares: list[tuple[dict[int, float], float, float]] = []
    total = 0.0
    for ranking, weight in rankings:
        total += weight
        best = ranking[0][1] if ranking else 0.0
        if best > 0:
            share = {item: (max(score, 0.0) / best) ** sharpness for item, score in ranking}
            shares.append((share, share[ranking[-1][0]] if len(ranking) >= limit else 0.0, weight))
    items = dict.fromkeys(item for share, _, _ in shares for item in share)
    scores = ((item, sum(weight * share.get(item, last) for share, last, weight in shares) / total) for item in items)
    return sorted(scores, key=lambda pair: -pair[1])


def fuse(rankings: Iterable[tuple[Ranking, float]], k: int) -> list[tuple[int, float]]:
    """Return ids with their score by reciprocal rank fusion, best first, whatever the scores of the rankings mean.

    An id gets `weight / (k + rank)` from every ranking that holds it, rank counted from 1. The sum is divided by the
    best that is possible, so 1.0 means first everywhere. Equal scores keep the order of the first ranking.

    Args:
        rankings: each with its weight; the weights may not all be 0.
        k: the larger, the less the first ranks stand out.
    """
    scores: dict[int, float] = {}
    best = 0.0
    for ranking, weight in rankings:
        best += weight / (k + 1)
        for rank, (item, _) in enumerate(ranking, 1):
            scores[item] = scores.get(item, 0.0) + weight / (k + rank)
    return sorted(((item, score / best) for item, score in scores.items()), key=lambda pair: -pair[1])
