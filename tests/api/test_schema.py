"""Schema: no request causes an internal error, and every response is documented.

schemathesis generates valid and invalid requests from `/openapi.json`, and checks the responses against it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx
import hypothesis
import pytest
from schemathesis.checks import not_a_server_error
from schemathesis.openapi import from_path
from schemathesis.specs.openapi import checks

from gateway.contracts import FOLDER
from services.user.accounts.model import ALL_ROLES
from tests.api.conftest import PASSWORD, Running

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

NAME = "schema"

# Long enough to synthesize the longest texts.
PATIENCE_SECONDS = 60

# The stream has no end; and with a key of the account, later calls would leave the machine.
SCHEMA = (
    from_path(FOLDER / "openapi.json")
    .exclude(path="/v1/events", method="GET")
    .exclude(path="/v1/providers/{provider}/key", method="PUT")
)

# One of these many similar cases, such as each of the wrong types of each field, is kept.
KEPT = {"incorrect_type": 4, "valid_object": 3}
_seen: Counter[tuple[str, str]] = Counter()


@SCHEMA.hook("filter_case")
def _is_kept(_context: Any, case: Any) -> bool:
    data = case.meta and case.meta.phase.data
    scenario = getattr(getattr(data, "scenario", None), "value", "")
    # tests/gateway tries each wrong verb.
    if scenario == "unspecified_http_method":
        return False
    _seen[case.operation.label, scenario] += 1
    return _seen[case.operation.label, scenario] % KEPT.get(scenario, 1) == 0


@dataclass
class Caller:
    """An administrator, whose requests may end the session."""

    http: httpx.Client
    token: str

    @property
    def headers(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self.token}"}

    def renew_session(self) -> bool:
        """Sign in again when the session is over; return whether it was."""
        if self.http.get("/v1/accounts/me", headers=self.headers).status_code != httpx.codes.UNAUTHORIZED:
            return False
        answer = self.http.post("/v1/auth/sign-in", json={"username": NAME, "password": PASSWORD})
        self.token = answer.json()["access_token"]
        return True


@pytest.fixture(scope="module")
async def caller(api: Running) -> AsyncIterator[Caller]:
    token = await api.new_account(NAME, *ALL_ROLES)
    with httpx.Client(base_url=api.url, timeout=PATIENCE_SECONDS) as http:
        yield Caller(http, token)


@SCHEMA.parametrize()
@MANY
def test_every_response_is_documented(caller: Caller, case: Any) -> None:
    def send() -> Any:
        return case.call_and_validate(
            base_url=str(caller.http.base_url), timeout=PATIENCE_SECONDS, headers=caller.headers, checks=CHECKS
        )

    if send().status_code == httpx.codes.UNAUTHORIZED and caller.renew_session():
        send()
