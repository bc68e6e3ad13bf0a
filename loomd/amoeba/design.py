"""How a model designs a specialist: what it is asked, and what of its answer can be used. Called by `unmatched`.

What a design says is text for a model and never a template; its tools are some of its creator's, and everything is
bounded.
"""

import json
import math
import re
import unicodedata
from collections.abc import Mapping, Sequence
from functools import partial

import msgspec

from loomd.amoeba.blueprint import Blueprint
from loomd.amoeba.forging import Forge, Plan
from loomd.amoeba.question import Question
from loomd.amoeba.task import GENERAL
from loomd.manifest.wording import without_secrets
from loomd.messages import JsonObject

NAME = 40
"""Longest name of a specialist; a number may be added to it."""
_DESCRIPTION = 300
_PROMPT = 4000
_DOMAINS = 5
TEAM = 20
"""Most members that a model is told of."""
_SYSTEM = (
    "Nobody in a team is good at a request. You design a specialist for requests of this kind; you do not answer it. "
    "name is a short name in lower-case letters and hyphens. description says in one sentence what the specialist is "
    "good at, in words that such requests contain. prompt tells the specialist how to work. domains are one to five "
    "fields that it is good at, each with a score from 0 to 1. tools are those of the list that it needs, or none."
)
_REVEALS = "expected a design without secrets, got what looks like one"
_WORD = re.compile(r"[^a-z0-9]+")


class _Domain(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    score: float


class _Design(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    description: str
    prompt: str
    domains: list[_Domain]
    tools: list[str] = []


class Designed(msgspec.Struct, frozen=True):
    """A design that can be used: the name that it wants, and the blueprint."""

    name: str
    blueprint: Blueprint


def question(plan: Plan, cluster: str, spec: Forge, fallback: str) -> Question[Designed]:
    """Return what a model is asked for; it rests on what is recorded alone, so that it is the same after a crash.

    Args:
        plan: of whom the specialist is made, and what there is.
        cluster: name of the cluster.
        spec: the limits of a design.
        fallback: what is done when no usable answer comes.
    """
    return Question(
        system=_SYSTEM,
        content=partial(_content, plan.team, plan.tools),
        schema=_schema(list(plan.tools)),
        read=partial(_read, plan.creator, cluster, list(plan.tools), spec.prior),
        fallback=fallback,
        provider=spec.provider or "",
        max_tokens=spec.max_tokens,
        attempts=spec.attempts,
        noun="design",
        key="forge",
    )


def _content(members: Mapping[str, str], tools: Mapping[str, str], goal: str) -> str:
    lines = ["Who is in the team already:", *(f"- {name}: {text}" for name, text in members.items())]
    lines += ["Tools:", *([f"- {name}: {text}" for name, text in tools.items()] or ["none"])]
    return "\n".join([*lines, "The request, as JSON text:", json.dumps(goal, ensure_ascii=False)])


def _schema(tools: list[str]) -> JsonObject:
    def text(most: int) -> JsonObject:
        return {"type": "string", "minLength": 1, "maxLength": most}

    tool: JsonObject = {"type": "string", "enum": tools} if tools else {"type": "string"}
    domain: JsonObject = {
        "type": "object",
        "properties": {"name": text(NAME), "score": {"type": "number", "minimum": 0, "maximum": 1}},
        "required": ["name", "score"],
        "additionalProperties": False,
    }
    return {
        "type": "object",
        "properties": {
            "name": text(NAME),
            "description": text(_DESCRIPTION),
            "prompt": text(_PROMPT),
            "domains": {"type": "array", "items": domain, "minItems": 1, "maxItems": _DOMAINS},
            "tools": {"type": "array", "items": tool, "maxItems": len(tools)},
        },
        "required": ["name", "description", "prompt", "domains", "tools"],
        "additionalProperties": False,
    }


def _read(creator: str, cluster: str, tools: Sequence[str], prior: float, text: str) -> Designed:
    """Return what an answer says.

    Raises:
        ValueError: it cannot be used; the text says why.
    """
    try:
        said = msgspec.json.decode(text, type=_Design)
    except (msgspec.MsgspecError, UnicodeError) as error:
        raise ValueError(f"it is not what was asked for ({error})") from error
    if strange := [one for one in said.tools if one not in tools]:
        raise ValueError(f'there is no tool "{strange[0][:NAME]}"')
    if not 1 <= len(said.domains) <= _DOMAINS:
        raise ValueError(f"it has {len(said.domains)} domains, expected 1 to {_DOMAINS}")
    domains: dict[str, float] = {}
    for one in said.domains:
        if not (math.isfinite(one.score) and 0 <= one.score <= 1):
            raise ValueError(f"a score is {one.score}, expected 0 to 1")
        domains[_slug(one.name, "domain")] = min(prior, one.score)
    if domains.pop(GENERAL, None) is not None and not domains:
        raise ValueError('it is a specialist in "general", which is none')
    description, prompt = (
        _bounded(said.description, _DESCRIPTION, "description"),
        _bounded(said.prompt, _PROMPT, "prompt"),
    )
    blueprint = Blueprint(
        cluster=cluster,
        creator=creator,
        instructions=prompt,
        description=" ".join(description.split()),
        domains=domains,
        tools=tuple(dict.fromkeys(said.tools)),
    )
    texts = (said.name, *(one.name for one in said.domains), blueprint.instructions, blueprint.description)
    for written in texts:
        if without_secrets(written) != written:
            raise ValueError(_REVEALS)
    return Designed(_slug(said.name, "name"), blueprint)


def fault(blueprint: Blueprint) -> str:
    """Return why a design cannot be used as interceptors let it pass, or an empty string."""
    try:
        for text, most, what in (
            (blueprint.instructions, _PROMPT, "prompt"),
            (blueprint.description, _DESCRIPTION, "description"),
        ):
            _bounded(text, most, what)
            if without_secrets(text) != text:
                return _REVEALS
    except ValueError as error:
        return str(error)
    return ""


def _slug(text: str, what: str) -> str:
    """Return a text as a name: letters without their accents, digits and hyphens.

    Raises:
        ValueError: it has none of these, or too many.
    """
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    slug = _WORD.sub("-", plain).strip("-")
    if not slug or len(slug) > NAME:
        raise ValueError(f"a {what} is {len(slug)} letters and digits long, expected 1 to {NAME}")
    return slug


def _bounded(text: str, most: int, what: str) -> str:
    """Return a text without what cannot be printed.

    Raises:
        ValueError: it is empty or too long.
    """
    clean = "".join(one for one in text if one in "\n\t" or unicodedata.category(one) not in {"Cc", "Cs", "Co"}).strip()
    if not clean or len(clean) > most:
        raise ValueError(f"{what} has {len(clean)} characters, expected 1 to {most}")
    return clean
