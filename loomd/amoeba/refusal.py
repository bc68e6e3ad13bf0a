"""Whether an answer is a polite refusal, by its words. Signs in English, and no more; called by the rules.

An answer that was shown passages and says that they do not hold what is asked is no refusal: it is right as often as
they do not hold it.
"""

import re

_LEADING = 400
"""Characters at the beginning in which the signs are looked for."""
_POLITE = (
    r"(?:unfortunately|regrettably|sorry|(?:my )?apologies|i apologi[sz]e|i(?:'m| am) (?:(?:very|really|so|truly) )?"
    r"(?:sorry|afraid)|as an? (?:ai|language model)[^,.]{0,40}|thank(?:s| you)[^,.!]{0,60})"
)
_WE = r"(?:i|we)(?: am|'m| are|'re)?"
_UNABLE = rf"{_WE} (?:cannot|can't|can not|could not|couldn't|unable|not able|not allowed)\b"
_UNWILLING = rf"{_WE} (?:won't|will not|(?:(?:must|have to|need to) )?(?:decline|refuse)|do not know|don't know)\b"
_PRAISE = (
    r"(?! (?:wait\b|stress\b|emphasi[sz]e\b|recommend\b.*\benough|(?:find|see|think of) (?:any|an?|no)\b"
    r".{0,20}\b(?:errors?|faults?|mistakes?|problems?|issues?|bugs?|reasons?)\b))"
)
"""What follows "I cannot" in an answer that does what was asked."""
_NOT_THAT = r"(?:that|this|it)(?:'s| is) (?:something (?:that )?i (?:cannot|can't)|not something (?:that )?i can)\b"
_REFUSAL = re.compile(
    rf"\W*(?:{_POLITE}[\s,.;:!-]+(?:(?:but|that)\s+)?){{0,3}}(?:{_UNABLE}{_PRAISE}|{_UNWILLING}|{_NOT_THAT})"
    r"|\W*(?:sorry|i(?:'m| am) sorry)\W*$"
)
_WANTING = re.compile(
    r"\b(?:do not|don't) know\b|\b(?:find|tell|say|answer|determine)\b"
    r"|\b(?:passages?|documents?|documentation|sources?|texts?|context|excerpts?|provided|given)\b"
)
"""What an answer speaks of that finds nothing in what it was shown."""


def refuses(answer: str, *, words: int, shown: bool) -> bool:
    """Return whether an answer says that it gives none.

    Args:
        answer: the answer.
        words: how many words a refusal has at most; what is longer says something.
        shown: whether passages were shown, of which it may say that they do not hold what is asked.
    """
    if len(answer.split(maxsplit=words)) > words:
        return False
    text = " ".join(answer[:_LEADING].casefold().replace("\N{RIGHT SINGLE QUOTATION MARK}", "'").split())
    return _REFUSAL.match(text) is not None and not (shown and _WANTING.search(text))
