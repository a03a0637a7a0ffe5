"""Schema: whatever is sent, no part of the platform meets a defect, and nothing comes back that is undocumented.

schemathesis makes the requests from `/openapi.json`, good ones and bad ones; what is answered is held against it.
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
    max_examples=20,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(hypothesis.HealthCheck),
)

# The longest texts are spoken.
PATIENCE_SECONDS = 60

# What has no end cannot be waited for.
SCHEMA = from_path(FOLDER / "openapi.json").exclude(path="/v1/events", method="GET")


@SCHEMA.parametrize()
@MANY
def test_nothing_undocumented_comes_back(api: Running, case: Any) -> None:
    case.call_and_validate(
        base_url=api.url, timeout=PATIENCE_SECONDS, headers={"authorization": f"Bearer {api.token}"}, checks=CHECKS
    )
