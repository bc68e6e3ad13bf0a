"""What a knowledge base does its work by. Data only."""

from typing import NamedTuple

from loomd.knowledge.base import IndexSpec, Retrieval
from loomd.knowledge.linking import Linking
from loomd.knowledge.refining import Refining


class Ways(NamedTuple):
    """How passages are found, how vectors are compared, who finds entities, and what is done about a question."""

    retrieval: Retrieval
    indexing: IndexSpec
    linking: Linking | None = None
    refining: Refining | None = None
