#!/usr/bin/env bash
# One venv per peer, so their dependency trees cannot meet. Usage: setup_venvs.sh [NAME...]
set -u
ROOT=${PERF_VENVS:-.venvs}
declare -A REQ=(
  [perf_raw]="openai httpx jsonschema aiohttp uvloop httptools uvicorn orjson psutil"
  [perf_loomd]="openai httpx psutil -e $(cd "$(dirname "$0")/../.." && pwd)"
  [perf_loom_agent]="loom-agent==0.6.5 openai anthropic"
  [perf_agno]="agno openai sqlalchemy[asyncio] aiosqlite"
  [perf_langgraph]="langgraph langchain langchain-openai langgraph-checkpoint-sqlite aiosqlite"
  [perf_pydantic_ai]="pydantic-ai-slim[openai,dbos]"
  [perf_openai_agents]="openai-agents"
  [perf_google_adk]="google-adk litellm"
  [perf_google_adk_a2a]="google-adk[a2a] litellm"
  [perf_crewai]="crewai"
  [perf_smolagents]="smolagents[openai]"
  [perf_autogen]="autogen-agentchat autogen-ext[openai]"
  [perf_agent_framework]="agent-framework-core agent-framework-openai"
  [perf_haystack]="haystack-ai"
  [perf_rag]="loom-agent==0.6.5 -e $(cd "$(dirname "$0")/../.." && pwd) faiss-cpu bm25s tantivy numpy PyStemmer rank-bm25"
)
NAMES=("$@"); [ ${#NAMES[@]} -eq 0 ] && NAMES=("${!REQ[@]}")
for n in "${NAMES[@]}"; do
  [ -x "$ROOT/$n/bin/python" ] || uv venv -q --python 3.11 "$ROOT/$n"
  if uv pip install -q --python "$ROOT/$n/bin/python" ${REQ[$n]} psutil 2>"$ROOT/$n/install.err"; then
    echo "ok   $n"; else echo "FAIL $n: $(tail -1 "$ROOT/$n/install.err")"; fi
done
