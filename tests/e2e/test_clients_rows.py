"""What the official clients did, as the database of a whole gateway tells it afterwards."""

from collections import Counter
from pathlib import Path

import duckdb
import pytest
from anthropic import Anthropic
from openai import OpenAI
from support import anthropic_calls, openai_calls
from support.running import RunningGateway
from support.spec_upstream import KEY, SpecUpstream
from support.spec_wire import UNCOUNTED
from support.two_sides import configuration

OPENAI = (
    openai_calls.chat,
    openai_calls.chat_stream,
    openai_calls.chat_stream_helper,
    openai_calls.completion,
    openai_calls.embeddings,
    openai_calls.responses,
    openai_calls.responses_helper,
    openai_calls.responses_life,
    openai_calls.images,
    openai_calls.images_edit,
    openai_calls.speech,
    openai_calls.transcription_stream,
    openai_calls.moderations,
    openai_calls.files,
    openai_calls.uploads,
    openai_calls.batches,
    openai_calls.vector_stores,
    openai_calls.fine_tuning,
)
QUERY = """
    SELECT status, reason, protocol, operation,
           prompt_tokens, response_tokens, cached_tokens, reasoning_tokens
    FROM predictions
"""
ANTHROPIC = (
    anthropic_calls.message_tools,
    anthropic_calls.stream_helper,
    anthropic_calls.count_tokens,
)


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_one_row_for_every_request(tmp_path: Path) -> None:
    """Every request is one row with the counts of its answer; nothing else is in the database."""
    with (
        SpecUpstream() as upstream,
        RunningGateway(tmp_path / "data", configuration(upstream.url)) as gateway,
    ):
        with OpenAI(base_url=f"{gateway.data_url}/v1", api_key=KEY, max_retries=0) as client:
            for call in OPENAI:
                call(client, "named")
        with Anthropic(base_url=gateway.data_url, api_key=KEY, max_retries=0) as claude:
            for ask in ANTHROPIC:
                ask(claude, "claude-named")
        asked = list(upstream.exchanges)
        assert gateway.terminate() == 0
    with duckdb.connect(str(tmp_path / "data" / "driftgate.duckdb"), read_only=True) as database:
        rows = database.execute(QUERY).fetchall()
    assert len(rows) == len(asked)
    assert {(status, reason) for status, reason, *_ in rows} == {(200, None)}
    protocols = Counter(row[2] for row in rows)
    assert protocols["anthropic"] == len(ANTHROPIC)
    assert protocols["openai"] == len(asked) - len(ANTHROPIC)
    counted = Counter(answer.usage for _, answer in asked if answer.usage != UNCOUNTED)
    recorded = Counter(
        tuple(row[4:]) for row in rows if any(value is not None for value in row[4:])
    )
    assert recorded == counted
