"""Tells of documents that are left out. Called by a knowledge base."""

import logging
from collections.abc import Iterable

from loomd.events.bus import Bus
from loomd.events.event import DocumentSkipped
from loomd.knowledge.ingest import Unreadable

_log = logging.getLogger("loomd.knowledge")


def tell_skipped(bus: Bus, knowledge: str, unreadable: Iterable[Unreadable], known: set[Unreadable]) -> None:
    """Tell of documents that are left out, each once.

    Args:
        bus: where it is told.
        knowledge: name of the knowledge base.
        unreadable: the documents.
        known: those of which it is known; the others are added.
    """
    for one in unreadable:
        if one not in known:
            known.add(one)
            bus.emit(DocumentSkipped(knowledge, one.path, one.reason))
            _log.info("KnowledgeBase/%s leaves out %s: it %s", knowledge, one.path, one.reason)
