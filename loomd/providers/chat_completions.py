"""Chat completions: the protocol of OpenAI and of every service that speaks the same: requests become JSON bytes.

Nothing here knows how the bytes travel; answers are read by `chat_answer`.
"""

from collections.abc import Sequence

from loomd.encoded import Encoded, to_json
from loomd.messages import JsonObject, Message, Request, Thought, ToolCall, ToolSchema
from loomd.providers.base import refuse_images
from loomd.providers.chat_answer import ChatAnswer
from loomd.providers.encoding import Envelope, array
from loomd.providers.remote import Wire, user_text
from loomd.providers.service import Service


class ChatCompletions:
    """Speaks chat completions for one provider."""

    protocol = "chat completions"

    def __init__(self, wire: Wire, service: Service, effort: str | None = None) -> None:
        """Take the provider: its way with its fields, what the service does otherwise, and how much it is to think."""
        fields = wire.fields
        fixed: JsonObject = {"model": fields.model}
        if fields.stream:
            fixed["stream"] = True
            if service.asks_usage:
                fixed["stream_options"] = {"include_usage": True}
        if fields.temperature is not None:
            fixed["temperature"] = fields.temperature
        if effort is not None:
            fixed["reasoning_effort"] = effort
        self._wire = wire
        self._service = service
        self._envelope = Envelope(fixed, fields.parameters)
        self._messages = Encoded[Message](lambda message: to_json(self._turn(message)))
        self._tools = Encoded[ToolSchema](_tool)

    def refuse(self, request: Request) -> None:
        """Refuse what the service would.

        Raises:
            Permanent: it shows images to a service that takes none.
        """
        if not self._service.images:
            refuse_images(self._wire.owner, request)

    def body(self, request: Request) -> bytes:
        """Return a request as JSON."""
        structured = "" if request.output_schema is None else self._service.structured
        turns = request.turns if structured in {"", "json_schema"} else _told(request)
        fields = {
            "messages": array(self._messages.all(turns)),
            self._service.limit: to_json(request.max_tokens),
        }
        if request.temperature is not None:
            fields["temperature"] = to_json(request.temperature)
        if request.tools:
            fields["tools"] = array(self._tools.all(request.tools))
        if structured == "json_object":
            fields["response_format"] = to_json({"type": "json_object"})
        elif structured == "json_schema":
            schema = {"name": "answer", "schema": request.output_schema}
            fields["response_format"] = to_json({"type": "json_schema", "json_schema": schema})
        return self._envelope.seal(fields)

    def answer(self, request: Request) -> ChatAnswer:
        """Return what reads the answer to a request."""
        del request
        return ChatAnswer(self._wire)

    def _turn(self, message: Message) -> JsonObject:
        if message.role == "tool":
            return {"role": "tool", "tool_call_id": message.call_id, "content": message.text}
        if message.role == "user":
            return {"role": "user", "content": _pictured(message) if message.images else user_text(message)}
        turn: JsonObject = {"role": message.role, "content": message.text}
        own = [thought for thought in message.thoughts if thought.by == self._wire.name]
        if message.tool_calls:
            turn["content"] = message.text or None
            turn["tool_calls"] = [_call(call, at, own) for at, call in enumerate(message.tool_calls)]
        field = self._service.reasoning
        if field != "none" and message.role == "assistant" and (own or message.tool_calls):
            turn[field] = "".join(thought.text for thought in own)
        return turn


def _told(request: Request) -> tuple[Message, ...]:
    """Return the turns of a request with the schema of its answer in words, in the system turn."""
    schema = to_json(request.output_schema).decode()
    words = f"Answer with JSON that fits this JSON Schema, and with nothing else:\n{schema}"
    turns = request.turns
    if turns and turns[0].role == "system":
        return (Message("system", f"{turns[0].text}\n\n{words}"), *turns[1:])
    return (Message("system", words), *turns)


def _tool(tool: ToolSchema) -> bytes:
    function = {"name": tool.name, "description": tool.description, "parameters": tool.parameters}
    return to_json({"type": "function", "function": function})


def _call(call: ToolCall, at: int, thoughts: Sequence[Thought]) -> JsonObject:
    """Return a call of a turn, with the signature that Google puts on it and wants to see again."""
    found: JsonObject = {
        "id": call.id,
        "type": "function",
        "function": {"name": call.name, "arguments": to_json(call.arguments).decode()},
    }
    for thought in thoughts:
        if thought.signature and thought.after_calls == at:
            found["extra_content"] = {"google": {"thought_signature": thought.signature}}
    return found


def _pictured(message: Message) -> list[JsonObject]:
    """Return the parts of a user turn with pictures."""
    urls = [f"data:{image.media};base64,{image.data}" for image in message.images]
    parts: list[JsonObject] = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
    return [*parts, {"type": "text", "text": user_text(message)}]
