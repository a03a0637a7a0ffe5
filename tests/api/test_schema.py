"""Schema: no request causes an internal error, and every response is documented.

schemathesis generates valid and invalid requests from `/openapi.json`, and checks the responses against it.
"""

from __future__ import annotations

from typing import Any

import hypothesis
from schemathesis.checks import not_a_server_error
from schemathesis.openapi import from_path
from schemathesis.specs.openapi import checks

from gateway.contracts import FOLDER
from tests.api.conftest import Running

CHECKS = [
    not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
    checks.response_headers_conformance,
]
MANY = hypothesis.settings(
    max_examples=6,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(hypothesis.HealthCheck),
)

# Long enough to synthesize the longest texts.
PATIENCE_SECONDS = 60

# The stream has no end.
SCHEMA = from_path(FOLDER / "openapi.json").exclude(path="/v1/events", method="GET")


@SCHEMA.parametrize()
@MANY
def test_every_response_is_documented(api: Running, case: Any) -> None:
    case.call_and_validate(
        base_url=api.url, timeout=PATIENCE_SECONDS, headers={"authorization": f"Bearer {api.token}"}, checks=CHECKS
    )
