"""What of a question is looked for: its words, without those that are in every passage. Pure."""

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


def telling(query: str) -> list[str]:
    """Return the words of a question that tell something, each once, in small letters; all when none does.

    Operators, quotes and punctuation of the question have no meaning.
    """
    words = list(dict.fromkeys(_WORD.findall(query.lower())))
    return ([word for word in words if word not in STOP_WORDS] or words)[:MAX_TERMS]
