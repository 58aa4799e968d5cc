"""The published document against a running worker: what it promises is what clients meet."""

from typing import Any

import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from support.worker import RunningWorker

from gateway.openapi_document import document

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
EXAMPLES = 8  # of each of some forty operations

schema = schemathesis.openapi.from_dict(document())


@schema.parametrize()
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_an_operation_answers_as_documented(
    case: schemathesis.Case[Any], worker: RunningWorker
) -> None:
    """Drawn requests, valid and not: never a 5xx, always a documented status, type and shape."""
    case.call_and_validate(base_url=worker.url, checks=CHECKS, timeout=5.0)
