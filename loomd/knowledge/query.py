"""Turns what a person asks into an FTS5 query that cannot be wrong: quoted words, any of which may match. Pure."""

import re

_WORD = re.compile(r"\w+")

MAX_TERMS = 64
"""Words of a query that count; a pasted page asks no better than its beginning."""

_COMMON = """
    a about am an and any are as at be been being but by can could did do does doing for from had has have having
    he her here hers him his how i if in into is it its just me more most my no nor not of off on once only or other our
    ours out over own same she should so some such than that the their them then there these they this those through to
    too under until up very was we were what when where which who whom why will with would you your yours
"""

STOP_WORDS = frozenset(_COMMON.split())
"""Words that are in nearly every passage. They are left out unless the query holds nothing else."""


def match_expression(query: str) -> str:
    """Return an FTS5 expression for a question in plain words, or an empty text when it holds no word.

    Operators, quotes and punctuation of the question have no meaning: only its words are used, each once.
    """
    words = list(dict.fromkeys(_WORD.findall(query.lower())))
    telling = [word for word in words if word not in STOP_WORDS] or words
    return " OR ".join(f'"{word}"' for word in telling[:MAX_TERMS])
