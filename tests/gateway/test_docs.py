"""The description of the interface: OpenAPI at /openapi.json, and a page at /docs."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from openapi_spec_validator import validate

from gateway.contracts import FOLDER, Method, load_methods
from gateway.openapi import describe
from tests.gateway.proxy import Proxy

API = describe()
PUBLIC = [method for method in load_methods() if method.public and method.rest]


def operations(method: Method) -> list[dict[str, object]]:
    return [API["paths"][binding.path][binding.verb.lower()] for binding in method.rest]


def test_the_document_is_valid_openapi_3_1() -> None:
    assert API["openapi"].startswith("3.1.")
    validate(API)


def test_the_document_holds_exactly_the_public_methods() -> None:
    documented = {(verb.upper(), path) for path, verbs in API["paths"].items() for verb in verbs}
    assert documented == {(binding.verb, binding.path) for method in PUBLIC for binding in method.rest}
    names = [found["operationId"] for verbs in API["paths"].values() for found in verbs.values()]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("method", PUBLIC, ids=lambda method: method.path)
def test_the_document_holds_security_and_responses(method: Method) -> None:
    for found in operations(method):
        assert found["description"]
        assert found.get("security", []) == ([{"user": []}] if method.needs_token else [])
        responses = found["responses"]
        assert isinstance(responses, dict)
        assert {str(status) for status in method.http_statuses} < set(responses)
        assert ("401" in responses) is (method.needs_token or method.exchanges_credentials)


def test_the_document_holds_the_rules_of_the_contracts() -> None:
    title = API["components"]["schemas"]["CreateVideoRequest"]["properties"]["title"]
    assert {**title, "description": ""} == {"type": "string", "minLength": 1, "maxLength": 200, "description": ""}
    assert API["components"]["schemas"]["CreateVideoRequest"]["required"] == ["title"]
    size = API["paths"]["/v1/videos"]["get"]["parameters"][0]
    assert (size["name"], size["in"], size["schema"]["maximum"]) == ("page_size", "query", 100)


def test_bytes_and_large_numbers_have_schemas() -> None:
    """Without these schemas, generators skip the operations or fail."""
    upload = API["paths"]["/v1/assets"]["post"]["requestBody"]["content"]
    file = API["paths"]["/v1/videos/{job_id}/file"]["get"]["responses"]
    binary = {"type": "string", "format": "binary"}
    assert upload == {"application/octet-stream": {"schema": binary}}
    assert file["200"]["content"]["*/*"] == {"schema": binary}
    assert {"206", "304", "416"} <= set(file)
    assert "content" not in file["304"]

    def untyped(schema: object) -> bool:
        if isinstance(schema, dict):
            return isinstance(schema.get("type"), list) or any(map(untyped, schema.values()))
        return isinstance(schema, list) and any(map(untyped, schema))

    assert not untyped(API)


def test_a_generator_can_create_a_client(tmp_path: Path) -> None:
    """Its models compile, and have the fields and the rules."""
    target = tmp_path / "models.py"
    command = (sys.executable, "-W", "ignore", "-m", "datamodel_code_generator", "--input", FOLDER / "openapi.json")
    options = ("--input-file-type", "openapi", "--output", target, "--output-model-type", "pydantic_v2.BaseModel")
    done = subprocess.run((*command, *options), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    spec = importlib.util.spec_from_file_location("models", target)
    assert spec is not None
    assert spec.loader is not None
    models = importlib.util.module_from_spec(spec)
    sys.modules["models"] = models
    spec.loader.exec_module(models)
    request = models.CreateVideoRequest.model_validate({"title": "A walk", "clips": [{"asset_id": "ast_1"}]})
    assert request.clips[0].asset_id == "ast_1"
    with pytest.raises(ValueError, match="titel"):
        models.CreateVideoRequest.model_validate({"titel": "A walk", "clips": [{"asset_id": "ast_1"}]})


async def test_the_document_needs_no_token(gateway: Proxy) -> None:
    answer = await gateway.http.get("/openapi.json")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    assert answer.json() == API == json.loads((FOLDER / "openapi.json").read_text())


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


def test_every_operation_has_a_tag_with_a_description() -> None:
    subjects = {tag["name"]: tag["description"] for tag in API["tags"]}
    assert all(subjects.values())
    used = {found["tags"][0] for verbs in API["paths"].values() for found in verbs.values()}
    assert used == set(subjects)


async def test_the_root_is_a_page_for_browsers_and_an_error_for_programs(gateway: Proxy) -> None:
    browser = {"accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
    page = await gateway.http.get("/", headers=browser)
    assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    for link in ("/docs", "/openapi.json", "/health"):
        assert f'href="{link}"' in page.text
    assert "/v1/auth/sign-in" in page.text
    assert (await gateway.http.head("/", headers=browser)).status_code == 200
    for accept in ("application/json", "*/*"):
        answer = await gateway.http.get("/", headers={"accept": accept})
        assert (answer.status_code, answer.json()["details"][0]["reason"]) == (404, "METHOD_UNKNOWN")


@pytest.mark.skipif(shutil.which("node") is None, reason="needs Node to run the page's script")
def test_the_page_groups_operations_and_renders_commands(tmp_path: Path) -> None:
    """The script runs with a stub of the browser's document on the actual OpenAPI document."""
    run = tmp_path / "run.js"
    run.write_text(STAND_IN % (json.dumps(API), (FOLDER / "docs" / "docs.js").read_text()))
    node = shutil.which("node")
    assert node is not None
    done = subprocess.run((node, run), capture_output=True, text=True, check=True)
    shown = done.stdout
    assert "`" not in shown
    for tag in API["tags"]:
        assert f"[h1]{tag['name']}" in shown
    calls = [found["operationId"] for verbs in API["paths"].values() for found in verbs.values()]
    commands = re.findall(r"\[code\](curl .*)", shown)
    assert len(commands) == len(calls)
    create = next(line for line in commands if line.endswith('"http://here/v1/videos"') and "-X POST" in line)
    assert "authorization: Bearer $TOKEN" in create
    body = re.search(r"-d '(.*)' ", create)
    assert body is not None
    assert set(json.loads(body[1])) == set(API["components"]["schemas"]["CreateVideoRequest"]["required"])
    assert any("--data-binary @walk.mp4" in line for line in commands)


STAND_IN = """
class Node {
  constructor(name) { this.name = name; this.children = []; }
  setAttribute() {}
  append(...children) { this.children.push(...children); }
  replaceChildren(...children) { this.children = children; }
  print() {
    return `\\n[${this.name}]` + this.children.map((child) => (child instanceof Node ? child.print() : child)).join("");
  }
}
const parts = { about: new Node("p"), contents: new Node("nav"), methods: new Node("main") };
globalThis.document = { createElement: (name) => new Node(name), getElementById: (id) => parts[id] };
globalThis.location = { origin: "http://here", hash: "" };
globalThis.fetch = async () => ({ json: async () => (%s) });
%s
setTimeout(() => { for (const part of Object.values(parts)) console.log(part.print()); }, 0);
"""
