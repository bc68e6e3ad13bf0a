"""`loomd knowledge`: what questions find in a knowledge base and why, how it stands, and indexes built anew."""

import re
import sys

import click

from loomd.api.client import Client, Json
from loomd.api.path import LONGEST_QUESTION
from loomd.cli.colour import BOLD, CYAN, GREY, harmless, painter
from loomd.cli.output import Form, output_option, writer
from loomd.cli.progress import working
from loomd.cli.table import age_of, render, show
from loomd.cli.target import Place, being_opened, get_one, namespace_option, select, socket_option
from loomd.clock import SystemClock

_BASES = Place("knowledgebases", "KnowledgeBase")
_WORD = re.compile(r"\w+")
_STEM = 4
"""Letters by which a word of a passage is taken for one of the question, in whatever form it stands there."""


@click.group()
def command() -> None:
    """Search knowledge bases, see how they stand, and build their indexes anew."""


@command.command("search")
@click.argument("name", metavar="KNOWLEDGEBASE")
@click.argument("question")
@click.option("--top", type=click.IntRange(1, 100), metavar="N", help="Passages to show. [default: retrieval.topK]")
@output_option("table", "wide", "json", "yaml", "jsonpath")
@namespace_option
@socket_option
def search_(name: str, question: str, top: int | None, output: Form, namespace: str, client: Client) -> int:
    """Show what a QUESTION finds in a knowledge base, as an agent would get it, and why.

    SCORE is what the passage is ranked by; KEYWORD and VECTOR are its rank and score among the passages that words and
    meaning found, or empty; where there is a graph, GRAPH is that among the passages to which the entities of the
    question lead. Where a reranker is declared, RERANK is what it gave the passage, and comes before SCORE in the
    order. With -o wide only the ranks are listed; -o json and yaml have the place, hash, document and properties of
    each passage, too. Exit code 1: nothing was found.

    What is asked of models and services for it costs money: it is paid from the day's budget of the
    namespace.
    """
    if len(question) > LONGEST_QUESTION:
        raise click.UsageError(f"expected a question of at most {LONGEST_QUESTION:,} characters, got {len(question):,}")
    item = get_one(client, _BASES, namespace, name)
    query = {"q": question} | ({} if top is None else {"limit": str(top)})
    found = client.get(*_BASES.parts(namespace), item["metadata"]["name"], "search", **query)
    hits: list[Json] = found["items"]
    if output.name in {"table", "wide"}:
        reranked = ["RERANK"] if any(hit["rerank"] is not None for hit in hits) else []
        parts = ["keyword", "vector", *(["graph"] if hits and "graph" in hits[0] else [])]
        show(
            ("", *reranked, "SCORE", *(part.upper() for part in parts), "SOURCE", "TITLE"),
            (
                (
                    str(hit["number"]),
                    *([_given(hit)] if reranked else []),
                    f"{hit['score']:.3f}",
                    *(_place(hit[part]) for part in parts),
                    hit["source"],
                    hit["title"],
                )
                for hit in hits
            ),
        )
        for hit in hits if output.name == "table" else []:
            _passage(hit, question)
        for wording in found["wordings"]:
            click.echo(f"also looked for: {harmless(wording, sys.stderr)}", err=True)
        for note in found["notes"]:
            click.echo(f"note: {harmless(note, sys.stderr)}", err=True)
        if not hits:
            click.echo("nothing was found", err=True)
    else:
        writer(output)(found)
    return 0 if hits else 1


def _given(hit: Json) -> str:
    return "" if hit["rerank"] is None else f"{hit['rerank']:.3f}"


def _place(place: Json | None) -> str:
    return "" if place is None else f"{place['rank']} ({place['score']:.3f})"


def _passage(hit: Json, question: str) -> None:
    """Print a passage with the words of the question in it."""
    paint = painter()
    stems = {word.lower()[:_STEM] for word in _WORD.findall(question) if len(word) >= _STEM}
    text = _WORD.sub(
        lambda word: paint(word[0], BOLD) if word[0].lower()[:_STEM] in stems else word[0],
        harmless(hit["text"], sys.stdout),
    )
    number, source = paint(f"[{hit['number']}]", CYAN), paint(harmless(hit["source"], sys.stdout), GREY)
    click.echo(f"\n{number} {source}")
    for line in text.splitlines():
        click.echo(f"    {line}")


@command.command("status")
@click.argument("name", metavar="[KNOWLEDGEBASE]", required=False)
@output_option("table", "json", "yaml", "name", "jsonpath")
@namespace_option
@socket_option
def status_(name: str | None, output: Form, namespace: str, client: Client) -> None:
    """Show how knowledge bases stand: documents, passages, size, index, freshness, and what was left out.

    Of one, also each source: how many documents it has, when it was read well, and when it changed. REFRESHED is how
    long ago that was read which is the oldest.
    """
    names = [name] if name else select(client, _BASES, namespace, "", everything=True)
    items = [get_one(client, _BASES, namespace, one) for one in names]
    if output.name != "table":
        writer(output)(items[0] if name else {"items": items})
    elif name:
        for line in [*ready_lines(items[0]), *index_lines(items[0])]:
            click.echo(line)
    else:
        now = SystemClock().now()
        head = ("KNOWLEDGEBASE", "READY", "DOCUMENTS", "PASSAGES", "SIZE", "INDEX", "LEFT OUT", "REFRESHED")
        show(head, (status_row(item, now) for item in items))
        for told in being_opened(client.get(*_BASES.parts(namespace))):
            click.echo(told, err=True)


def status_row(item: Json, now: float) -> tuple[str, ...]:
    """Return how a knowledge base stands, as a row of the table of all."""
    index, (ready, why, _) = item["status"].get("index", {}), _ready(item)
    told = ready if ready == "True" else f"{ready} ({why})"
    stale = ["damaged" if one["reason"] == "IndexDamaged" else "stays as it was" for one in _stale(item)]
    first = (item["metadata"]["name"], ", ".join([told, *stale]))
    if not index:
        return (*first, "", "", "", "", "", "")
    return (
        *first,
        f"{index['documents']:,}",
        f"{index['passages']:,}",
        size_of(index["bytes"]),
        index["type"],
        str(len(index.get("leftOut", ())) or ""),
        age_of(index["refreshed"], now) if index["refreshed"] else "",
    )


def _ready(item: Json) -> tuple[str, str, str]:
    """Return whether a knowledge base is ready, in a word why, and in a sentence."""
    seen = next(one for one in item["status"]["conditions"] if one["type"] == "Ready")
    return seen["status"], seen["reason"], seen["message"]


def ready_lines(item: Json) -> list[str]:
    """Return why a knowledge base is not ready or finds nothing, how far it and the next version are, why it stays."""
    status, why, message = _ready(item)
    lines = [] if status == "True" else [f"{'ready:':<11} {status} ({why}): {message}"]
    seen = {one["type"]: (one["status"], one["reason"], one["message"]) for one in item["status"]["conditions"]}
    for title, kind, status, reason in (
        ("indexing:", "Degraded", "Unknown", "Indexing"),
        ("filter:", "Degraded", "True", "FilterUnmatched"),
        ("next:", "Reconciling", "True", "Progressing"),
    ):
        if kind in seen and seen[kind][:2] == (status, reason):
            lines.append(f"{title:<11} {seen[kind][2]}")
    for one in _stale(item):
        title = {"Failed": "refused:", "IndexDamaged": "damaged:"}.get(one["reason"], "behind:")
        since = one["lastTransitionTime"]
        if title == "behind:":  # it may have been degraded for longer, by documents that are left out
            since = max(since, item["status"].get("index", {}).get("refreshed") or "")
        lines.append(f"{title:<11} since {since}: {one['message']}")
    return lines


def _stale(item: Json) -> list[Json]:
    """Return the condition that says why a knowledge base could not be brought up to date, or is damaged."""
    return [
        one
        for one in item["status"]["conditions"]
        if one["type"] == "Degraded"
        and one["status"] == "True"
        and one["reason"] in {"Failed", "IndexDamaged", "RefreshFailed", "EmbedFailed", "SourceUnreachable"}
    ]


def index_lines(item: Json) -> list[str]:
    """Return how a knowledge base stands, and why documents were left out; nothing of what does not serve."""
    index = item["status"].get("index")
    if not index:
        return []
    declared = item["spec"].get("index", {}).get("type", "auto")
    left_out = [(one["path"], f"it {one['reason']}") for one in index.get("leftOut", ())]
    rows = (
        ("documents", f"{index['documents']:,}"),
        ("passages", f"{index['passages']:,}"),
        ("on disk", size_of(index["bytes"])),
        ("embedder", f"{index['embedder']}, {index['dimension']} numbers"),
        ("index", _compares(index, declared)),
        *_graph_rows(index.get("graph")),
        ("refreshed", index["refreshed"] or "not all of its sources were read yet"),
    )
    lines = [f"{title + ':' if title else '':<11} {value}" for title, value in rows]
    lines += ["", *render(("SOURCE", "DOCUMENTS", "READ", "CHANGED"), map(_source_row, index["sources"]))]
    return lines + (["", *render(("LEFT OUT", "WHY"), left_out)] if left_out else [])


def _source_row(source: Json) -> tuple[str, ...]:
    now = SystemClock().now()
    ages = (f"{age_of(source[moment], now)} ago" if source[moment] else "never" for moment in ("read", "changed"))
    return (source["name"], f"{source['documents']:,}", *ages)


def _compares(index: Json, declared: str) -> str:
    """Return which type of index is in use and how deep it looks, and why it is another one than declared."""
    from loomd.vectors.index import LOOSE  # noqa: PLC0415  # only these lines need it

    kind, depth, recall = index["type"], index.get("depth", 0), index.get("recall", 1.0)
    at = "candidates" if kind == "hnsw" else "lists"
    looks = "compares all" if not depth else f"looks at {depth} {at}, and found {recall:.1%} of the nearest passages"
    if declared not in {"auto", kind}:
        looks += f", as there are no more than {LOOSE:,} passages; {declared} is declared, and is built beyond that"
    loose = index.get("loose", 0)
    changed = f"; {loose:,} changes since are compared beside it" if loose and depth else ""
    return f"{kind}: {looks}{changed}"


def _graph_rows(graph: Json | None) -> list[tuple[str, str]]:
    """Return how a graph stands; nothing where there is none."""
    if not graph:
        return []
    entities = f"{graph['entities']:,} {'entity' if graph['entities'] == 1 else 'entities'}"
    rows = [("graph", f"{entities}, {count_of(graph['relations'], 'relation')}, by {graph['extractor']}")]
    if graph.get("pending"):
        waits, pending = graph.get("waits"), count_of(graph["pending"], "passage")
        one = graph["pending"] == 1
        verb = f"{'waits' if one else 'wait'}: {waits}" if waits else f"{'is' if one else 'are'} still looked through"
        rows.append(("", f"{pending} {verb}"))
    if graph.get("failed"):
        rows.append(("", f"{count_of(graph['failed'], 'passage')} could not be understood:"))
        rows += [("", f"{one['path']}: {one['reason']}") for one in graph["faults"]]
    return rows


@command.command("rebuild")
@click.argument("name", metavar="KNOWLEDGEBASE")
@click.option("--embed", is_flag=True, help="Read, cut and embed all documents again, too.")
@namespace_option
@socket_option
def rebuild_(name: str, embed: bool, namespace: str, client: Client) -> None:
    """Build the indexes of a knowledge base anew; searches are answered meanwhile.

    Indexes mend themselves when they are opened; this is for when you trust them no more, or changed the embedder's
    model behind its back (--embed).
    """
    item = get_one(client, _BASES, namespace, name)
    with working(f"building the indexes of {name}", client):
        made = client.post(*_BASES.parts(namespace), item["metadata"]["name"], "rebuild", body={"embed": embed})
    again = f", {made['embedded']:,} of them embedded" if made["embedded"] else ""
    click.echo(f"{name}: {count_of(made['passages'], 'passage')} of {count_of(made['documents'], 'document')}{again}")


def count_of(number: int, noun: str) -> str:
    """Return a number with its noun."""
    return f"{number:,} {noun if number == 1 else f'{noun}s'}"


def size_of(count: int) -> str:
    """Return a number of bytes as people read it."""
    size = float(count)
    for unit in ("B", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} GiB"
