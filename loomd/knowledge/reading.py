"""What was read of the sources of a knowledge base, and when: made from what is stored and what was read. Pure."""

from collections.abc import Callable, Mapping

from loomd.knowledge.ingest import Reading
from loomd.knowledge.standing import SourceStanding
from loomd.knowledge.store import SourceRow
from loomd.knowledge.survey import Recipe


def noted(
    readings: Mapping[int, Reading],
    recipe: Recipe,
    known: Mapping[str, SourceRow],
    earlier: Callable[[str], SourceRow | None],
) -> dict[str, SourceRow]:
    """Return what is to be stored of sources, by their names, once all that was read is indexed.

    Args:
        readings: what was read, by the places of the sources.
        recipe: it has the sources.
        known: what is stored of them.
        earlier: returns what another way of indexing knows of a source.
    """
    rows: dict[str, SourceRow] = {}
    for at, one in readings.items():
        name = recipe.source_names[at]
        before = known.get(name) or earlier(name)
        is_same = before is not None and before.digest == one.digest
        read = one.asked if one.asked is not None else 0.0 if before is None else before.read
        changed = before.changed if before is not None and is_same else one.at
        rows[name] = SourceRow(one.digest, one.documents, read, changed)
    return rows


def standings(recipe: Recipe, known: Mapping[str, SourceRow]) -> tuple[SourceStanding, ...]:
    """Return how the sources stand, in their order; `known` is what is stored of them."""
    rows = [known.get(name, SourceRow("", 0, 0.0, 0.0)) for name in recipe.source_names]
    return tuple(
        SourceStanding(source.label, row.documents, row.read, row.changed)
        for source, row in zip(recipe.sources, rows, strict=True)
    )
