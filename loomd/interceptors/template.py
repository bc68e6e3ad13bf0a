"""Template: adds rendered text before and after the system prompt of every model call.

The variables are `goal` (the first user turn), `date` (UTC, `2026-01-31`), `time` (UTC, `14:05`) and `tools` (the
names of the tools that may be called). Templates are checked when manifests are.
"""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Annotated, ClassVar, Literal

import msgspec
from pydantic import Field

from loomd.interceptors.base import LiveInterceptor, SkippableSpec
from loomd.interceptors.context import InterceptorContext, Moment
from loomd.manifest.template import Template, render
from loomd.messages import Message, Request
from loomd.topology import Parts

_Text = Annotated[str, Template("goal", "date", "time", "tools")]


class TemplateInterceptor(SkippableSpec):
    """Adds text to the system prompt."""

    pure: ClassVar[bool] = True
    type: Literal["template"] = "template"
    prefix: _Text = Field(default="", examples=["Answer in the language of the request.\n\n"])
    """Jinja2 text before the system prompt; variables: goal, date, time (UTC) and tools (a list of names)."""
    suffix: _Text = Field(default="", examples=["\n\nName your sources."])
    """Jinja2 text after the system prompt; variables: goal, date, time (UTC) and tools (a list of names)."""

    @property
    def moments(self) -> frozenset[Moment]:
        """Return when it is asked."""
        return frozenset({"beforeModel"})

    @asynccontextmanager
    async def open(self, parts: Parts) -> AsyncGenerator["PromptTemplate", None]:
        """Yield the live interceptor."""
        yield PromptTemplate(self, parts)


class PromptTemplate(LiveInterceptor):
    """Adds a prefix and a suffix to the system turn, which is made when there is none."""

    def __init__(self, spec: TemplateInterceptor, parts: Parts) -> None:
        super().__init__(spec, parts)
        self._spec = spec
        self._clock = parts.services.clock

    async def before_model(self, request: Request, context: InterceptorContext) -> Request:
        """Return the request with the extended system turn.

        Raises:
            Permanent: a text cannot be rendered.
        """
        del context
        messages = request.messages
        now = datetime.fromtimestamp(self._clock.now(), UTC)
        values = {
            "goal": next((message.text for message in messages if message.role == "user"), ""),
            "date": f"{now:%Y-%m-%d}",
            "time": f"{now:%H:%M}",
            "tools": [tool.name for tool in request.tools],
        }
        has_system = bool(messages) and messages[0].role == "system"
        system = messages[0].text if has_system else ""
        texts = (render(self._spec.prefix, **values), system, render(self._spec.suffix, **values))
        turn = Message("system", "\n\n".join(text for text in texts if text))
        rest = messages[1:] if has_system else messages
        return msgspec.structs.replace(request, messages=(turn, *rest))
