"""The forms in which a verb prints what it was told: `-o table|wide|json|yaml|name|jsonpath=EXPR`."""

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, TypeVar

import click

from loomd.api import problem
from loomd.api.client import Json
from loomd.api.text import to_yaml
from loomd.manifest.json_text import write_json
from loomd.manifest.problem import Problems

F = TypeVar("F", bound=Callable[..., Any])

_JSONPATH = "jsonpath"


class Form(NamedTuple):
    """A form; `expression` is what follows `jsonpath=`."""

    name: str
    expression: str = ""


class _FormType(click.ParamType[Form]):
    name = "form"

    def __init__(self, forms: Sequence[str]) -> None:
        self._forms = forms

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        """Return the forms as a help text shows them."""
        del param, ctx
        shown = (f"{form}=EXPR" if form == _JSONPATH else form for form in self._forms)
        return f"[{'|'.join(shown)}]"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Form:
        """Return the form that a word stands for."""
        if isinstance(value, Form):
            return value
        name, given, expression = str(value).partition("=")
        if name not in self._forms or bool(given) != (name == _JSONPATH):
            known = ", ".join(f"{form}=EXPR" if form == _JSONPATH else form for form in self._forms)
            self.fail(f"no form {value!r}: expected one of {known}", param, ctx)
        return Form(name, expression)


def output_option(*forms: str) -> Callable[[F], F]:
    """Add `-o/--output` with these forms, the first as default; the verb gets a `Form`."""
    return click.option("-o", "--output", type=_FormType(forms), default=forms[0], show_default=True, help="Form.")


def writer(form: Form) -> Callable[[Json], None]:
    """Return what prints a JSON value in a form that is not for people.

    Raises:
        Permanent: the expression is not valid.
    """
    if form.name == _JSONPATH:
        from loomd.cli.jsonpath import Template  # noqa: PLC0415  # brings a library that no other form needs

        template = Template(form.expression)
        return lambda value: _line(template.render(value))
    if form.name == "name":
        return lambda value: _line("\n".join(name_of(item) for item in value.get("items", [value])))
    if form.name == "yaml":
        return lambda value: click.echo(to_yaml(value), nl=False)
    return lambda value: click.echo(write_json(value))


@contextmanager
def problems_in(form: str, code: int) -> Generator[None]:
    """Tell what is wrong with manifests in the form that was asked for, as the API tells it, when a program reads it.

    Args:
        form: name of the form.
        code: exit code of the verb when manifests are refused.

    Raises:
        Exit: they are refused, and that was told.
        Problems: they are refused, and a person is to be told.
    """
    try:
        yield
    except Problems as error:
        if form not in {"json", "yaml"}:
            raise
        writer(Form(form))(problem.to_json(error))
        raise click.exceptions.Exit(code) from error


def name_of(item: Json) -> str:
    """Return `Kind/name`, with the namespace when it is not `default`."""
    return spelled(item["kind"], item["metadata"]["name"], item["metadata"].get("namespace", "default"))


def spelled(kind: str, name: str, namespace: str) -> str:
    """Return how a thing is named everywhere: `Kind/name`, or `Kind/namespace/name` when that is not `default`."""
    return f"{kind}/{name}" if namespace == "default" else f"{kind}/{namespace}/{name}"


def _line(text: str) -> None:
    if text:
        click.echo(text, nl=not text.endswith("\n"))
