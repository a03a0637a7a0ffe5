"""Docs: the interface as the gateway tells it, to programs at /openapi.json and to people at /docs."""

from __future__ import annotations

import json
import re

import pytest
from openapi_spec_validator import validate

from gateway.contracts import FOLDER, Method, methods
from gateway.openapi import describe
from tests.gateway.proxy import Proxy

API = describe()
PUBLIC = [method for method in methods() if method.public and method.rest]


def operations(method: Method) -> list[dict[str, object]]:
    return [API["paths"][binding.path][binding.verb.lower()] for binding in method.rest]


def test_it_is_openapi_3_1() -> None:
    assert API["openapi"].startswith("3.1.")
    validate(API)


def test_it_says_what_is_public_and_nothing_else() -> None:
    said = {(verb.upper(), path) for path, verbs in API["paths"].items() for verb in verbs}
    assert said == {(binding.verb, binding.path) for method in PUBLIC for binding in method.rest}
    names = [found["operationId"] for verbs in API["paths"].values() for found in verbs.values()]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("method", PUBLIC, ids=lambda method: method.path)
def test_it_says_who_may_call_and_what_may_come_back(method: Method) -> None:
    for found in operations(method):
        assert found["description"]
        assert found.get("security", []) == ([{"user": []}] if method.needs_token else [])
        responses = found["responses"]
        assert isinstance(responses, dict)
        assert {str(status) for status in method.http_statuses} < set(responses)
        assert ("401" in responses) is (method.needs_token or method.trades_secrets)


def test_it_says_the_rules_of_the_contract() -> None:
    title = API["components"]["schemas"]["CreateVideoRequest"]["properties"]["title"]
    assert {**title, "description": ""} == {"type": "string", "minLength": 1, "maxLength": 200, "description": ""}
    assert API["components"]["schemas"]["CreateVideoRequest"]["required"] == ["title", "clips"]
    size = API["paths"]["/v1/videos"]["get"]["parameters"][0]
    assert (size["name"], size["in"], size["schema"]["maximum"]) == ("page_size", "query", 100)


async def test_anybody_may_read_it(gateway: Proxy) -> None:
    told = await gateway.http.get("/openapi.json")
    assert (told.status_code, told.headers["content-type"]) == (200, "application/json")
    assert told.json() == API == json.loads((FOLDER / "openapi.json").read_text())


@pytest.mark.parametrize(
    ("path", "kind"), [("/docs", "text/html"), ("/docs/docs.css", "text/css"), ("/docs/docs.js", "text/javascript")]
)
async def test_the_page_needs_no_other_host(gateway: Proxy, path: str, kind: str) -> None:
    page = await gateway.http.get(path)
    assert (page.status_code, page.headers["content-type"]) == (200, f"{kind}; charset=utf-8")
    assert not re.search(r"(https?:)?//\w+\.\w|innerHTML|eval\(", page.text)
    rules = dict(rule.split(" ", 1) for rule in page.headers["content-security-policy"].split("; "))
    assert rules["default-src"] == "'none'"
    assert rules["script-src"] == rules["style-src"] == rules["connect-src"] == "'self'"
    # What it asks for, the gateway has.
    for asked in re.findall(r'(?:href|src)="(/[^"]+)"|fetch\("([^"]+)"\)', page.text):
        assert (await gateway.http.get("".join(asked))).status_code == 200
