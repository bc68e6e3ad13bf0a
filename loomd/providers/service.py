"""The services that speak chat completions: where they are, where their key is, and what they do otherwise than others.

What is here is what users need not look up. An address or a quirk that has changed is overridden in the manifest.
"""

from dataclasses import dataclass
from typing import Literal

Name = Literal[
    "openai",
    "deepseek",
    "groq",
    "llamacpp",
    "lmstudio",
    "mistral",
    "moonshot",
    "ollama",
    "openrouter",
    "qwen",
    "together",
    "vllm",
    "zhipu",
]
LimitField = Literal["max_completion_tokens", "max_tokens"]
Structured = Literal["json_schema", "json_object", "prompt"]
"""How a service is told the schema of an answer: by itself, as a promise of JSON with the schema in words, or in words
alone."""
ReasoningField = Literal["reasoning_content", "reasoning", "none"]
"""Field of an earlier turn in which a service gets its reasoning back."""


@dataclass(frozen=True)
class Service:
    """One service, or a server on this machine.

    Attributes:
        url: its address, with the path.
        key: environment variable that usually holds its key; empty for one that needs none.
        limit: name of the field that limits the answer.
        structured: how it is told the schema of an answer.
        asks_usage: whether it tells the usage of a stream only when asked; others refuse the question.
        reasoning: where it gets back what it thought, which some demand as long as tools are called; others refuse it.
        images: whether any of its models takes images.
    """

    url: str
    key: str = ""
    limit: LimitField = "max_tokens"
    structured: Structured = "json_schema"
    asks_usage: bool = True
    reasoning: ReasoningField = "none"
    images: bool = True


SERVICES: dict[Name, Service] = {
    "openai": Service("https://api.openai.com/v1", "OPENAI_API_KEY", "max_completion_tokens"),
    "deepseek": Service(
        "https://api.deepseek.com/v1",
        "DEEPSEEK_API_KEY",
        structured="json_object",
        reasoning="reasoning_content",
        images=False,
    ),
    "groq": Service("https://api.groq.com/openai/v1", "GROQ_API_KEY", "max_completion_tokens"),
    "llamacpp": Service("http://127.0.0.1:8080/v1"),
    "lmstudio": Service("http://127.0.0.1:1234/v1"),
    "mistral": Service("https://api.mistral.ai/v1", "MISTRAL_API_KEY", asks_usage=False),
    "moonshot": Service(
        "https://api.moonshot.ai/v1", "MOONSHOT_API_KEY", structured="json_object", reasoning="reasoning_content"
    ),
    "ollama": Service("http://127.0.0.1:11434/v1"),
    "openrouter": Service("https://openrouter.ai/api/v1", "OPENROUTER_API_KEY", reasoning="reasoning"),
    "qwen": Service(
        "https://dashscope-intl.aliyuncs.com/compatible-mode/v1", "DASHSCOPE_API_KEY", structured="json_object"
    ),
    "together": Service("https://api.together.xyz/v1", "TOGETHER_API_KEY"),
    "vllm": Service("http://127.0.0.1:8000/v1"),
    "zhipu": Service(
        "https://open.bigmodel.cn/api/paas/v4",
        "ZHIPUAI_API_KEY",
        structured="json_object",
        reasoning="reasoning_content",
    ),
}
COMPATIBLE = Service("", "OPENAI_API_KEY")
"""What is taken of a server that is only named by its address."""
