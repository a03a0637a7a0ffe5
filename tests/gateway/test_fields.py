"""No JSON body of a public method may hold an unknown field at any depth, or a field twice."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from google.protobuf.descriptor import Descriptor

from gateway.contracts import HTTP_BODY, Binding, Method, load_methods
from moneyprinter import contract
from tests.api import calls  # noqa: F401  so that all contracts are known
from tests.gateway.platform import Platform
from tests.gateway.proxy import Proxy

VIDEO = {"title": "A walk", "clips": [{"url": "https://example.com/a.mp4"}]}
WITH_BODY = [
    (method, binding)
    for method in load_methods()
    if method.public
    for binding in method.rest
    if binding.verb in ("POST", "PUT", "PATCH", "DELETE") and not method.client_streaming
]


def request(method: Method) -> Descriptor:
    described = contract.method(method.path)
    assert described is not None
    return described.input_type


def body_of(method: Method, binding: Binding) -> Descriptor | None:
    """Return the message of a body; None where there is no body, or any is accepted."""
    if not binding.body:
        return None
    message = request(method)
    return message if binding.body == "*" else message.fields_by_name[binding.body].message_type


def with_nonsense(message: Descriptor, depth: int = 3) -> Iterator[tuple[dict[str, Any], str]]:
    """Yield bodies with an unknown field in each nested message, and the path of that field."""
    yield {"nonsense": 1}, "nonsense"
    for field in message.fields if depth else ():
        inner = field.message_type
        if inner is None or inner.full_name.startswith("google.") or inner.GetOptions().map_entry:
            continue
        for body, place in with_nonsense(inner, depth - 1):
            if field.is_repeated:
                yield {field.name: [{}, body]}, f"{field.name}[1].{place}"
            else:
                yield {field.name: body}, f"{field.name}.{place}"
                yield {field.json_name: body}, f"{field.json_name}.{place}"


def path_of(binding: Binding) -> str:
    return re.sub(r"{\w+}", "part", binding.path)


@pytest.mark.parametrize(("method", "binding"), WITH_BODY, ids=lambda value: getattr(value, "path", ""))
async def test_an_unknown_field_is_refused_with_its_path(
    gateway: Proxy, bearer: dict[str, str], method: Method, binding: Binding
) -> None:
    message = body_of(method, binding)
    struct = message is not None and message.full_name == "google.protobuf.Struct"
    cases = [({"nonsense": 1}, "nonsense")] if message is None or struct else list(with_nonsense(message))
    for body, place in cases:
        answer = await gateway.http.request(binding.verb, path_of(binding), json=body, headers=bearer)
        assert answer.status_code == 400, (body, answer.text)
        info, bad = answer.json()["details"]
        assert info["reason"] == "REQUEST_INVALID"
        assert [violation["field"] for violation in bad["field_violations"]] == [place]
        assert place in answer.json()["message"]


def test_the_table_holds_every_kind_of_body() -> None:
    kinds = {(binding.verb, binding.body != "", binding.body == "*") for _, binding in WITH_BODY}
    assert kinds >= {("POST", True, True), ("PUT", True, True), ("PUT", True, False), ("PATCH", True, True)}
    assert kinds >= {("POST", False, False), ("DELETE", False, False)}
    assert HTTP_BODY not in {
        message.full_name for method, binding in WITH_BODY if (message := body_of(method, binding))
    }


@pytest.mark.parametrize(
    ("body", "place", "words"),
    [
        ({"titel": "x"}, "titel", "did you mean `title`?"),
        ({"Title": "x"}, "Title", "did you mean `title`?"),
        ({"setings": {}}, "setings", "did you mean `settings`?"),
        ({"settings": {"resolutoin": "1080p"}}, "settings.resolutoin", "did you mean `resolution`?"),
        ({"clips": [{"url": "x"}, {"titel": "x"}]}, "clips[1].titel", "did you mean `title`?"),
        ({"overlay": []}, "overlay", "did you mean `overlays`?"),
        ({"xyzzy": 1}, "xyzzy", "the fields are title, clips,"),
        ({"": 1}, "", "is no field"),
        ({'é\u2028"\\': 1}, 'é\u2028"\\', "is no field"),
        ({"x" * 500: 1}, "x" * 60 + "...", "is no field"),
    ],
)
async def test_the_error_suggests_a_field(
    gateway: Proxy, bearer: dict[str, str], body: dict[str, Any], place: str, words: str
) -> None:
    content = json.dumps(body, ensure_ascii=False).encode()
    answer = await gateway.http.post("/v1/videos", content=content, headers=bearer)
    [violation] = answer.json()["details"][1]["field_violations"]
    written = json.dumps(place, ensure_ascii=False)[1:-1]
    assert violation["field"] in (place, written)
    assert words in violation["description"]


async def test_all_violations_are_reported_at_once_up_to_a_limit(gateway: Proxy, bearer: dict[str, str]) -> None:
    answer = await gateway.http.post("/v1/videos", json={"a1": 1, "clips": [{"b2": 1}], "c3": {}}, headers=bearer)
    found = [violation["field"] for violation in answer.json()["details"][1]["field_violations"]]
    assert found == ["a1", "clips[0].b2", "c3"]
    answer = await gateway.http.post("/v1/videos", json={f"x{number}": 1 for number in range(5000)}, headers=bearer)
    assert (answer.status_code, len(answer.content) < 4000) == (400, True)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ('{"title": "a", "title": "b"}', "title"),
        ('{"request_id": "a", "requestId": "b"}', "requestId"),
        ('{"title": "a", "\\u0074itle": "b"}', "\\u0074itle"),
        ('{"clips": [{"url": "a", "url": "b"}]}', "clips[0].url"),
        ('{"clips": [], "clips": []}', "clips"),
    ],
)
async def test_a_repeated_field_is_refused(gateway: Proxy, bearer: dict[str, str], text: str, place: str) -> None:
    answer = await gateway.http.post("/v1/videos", content=text, headers=bearer)
    assert answer.status_code == 400
    [violation] = answer.json()["details"][1]["field_violations"]
    assert violation["field"].encode().decode("unicode_escape") == place.encode().decode("unicode_escape")
    assert violation["description"] == "is given twice"


NO_JSON = [
    *("[]", '"x"', "1", "null", "{", "{}}", "{},", "{} {}", "{'title': 'x'}", "{title: 1}", '{"title"}', '{"title":}'),
    *('{"title": "x",}', '{"clips": [1,]}', '{"clips": [,]}', '{"clips": [1 2]}', '{"title": x}', '{"title": nul}'),
    *('{"title": 01}', '{"title": 1.}', '{"title": .5}', '{"title": +1}', '{"title": 1e}', '{"title": NaN}'),
    *('{"title": "\\x41"}', '{"title": "\\u12"}', '{"title": "a\nb"}', '{"title": "a}', '{"title": "a" "b"}'),
    *("\ufeff{}", "{} // x", "/* x */ {}", '{"title": undefined}', "a=b&c=d", "  ", '{"a":' * 100 + "1" + "}" * 100),
]


@pytest.mark.parametrize("text", NO_JSON)
async def test_invalid_json_is_refused_with_its_position(gateway: Proxy, bearer: dict[str, str], text: str) -> None:
    """Also text that lenient parsers such as Envoy's accept, which could hide a field."""
    answer = await gateway.http.post("/v1/videos", content=text.encode(), headers=bearer)
    assert answer.status_code == 400, answer.text
    assert re.match(r"the body is not JSON at line \d+, column \d+: ", answer.json()["message"])


GOOD = [
    json.dumps(VIDEO),
    json.dumps(VIDEO, indent=2),
    json.dumps(VIDEO, separators=(" ,\t", " :\r\n")),
    json.dumps({**VIDEO, "requestId": "a-request-of-mine-1"}),
    json.dumps({**VIDEO, "title": 'é "quoted" \\ / \u2028 \U0001f600 \t'}),
    json.dumps({**VIDEO, "title": "é \U0001f600"}, ensure_ascii=False),
    json.dumps({**VIDEO, "audio": None, "settings": {}}),
    '{"\\u0074itle": "A walk", "clips": [{"url": "https://example.com/a.mp4", "speed": 15e-1}]}',
]


@pytest.mark.parametrize("text", GOOD)
async def test_valid_json_arrives(platform: Platform, gateway: Proxy, bearer: dict[str, str], text: str) -> None:
    answer = await gateway.http.post("/v1/videos", content=text.encode(), headers=bearer)
    assert answer.status_code == 202, answer.text
    assert platform.videos.created[-1].title == json.loads(text)["title"]


@pytest.mark.parametrize(
    ("body", "place", "description"),
    [
        ({"audio": []}, "audio", "must be an object, in braces"),
        ({"audio": "loud"}, "audio", "must be an object, in braces"),
        ({"clips": {}}, "clips", "must be a list, in brackets"),
        ({"clips": "a.mp4"}, "clips", "must be a list, in brackets"),
        ({"clips": [{}, "a.mp4"]}, "clips[1]", "must be an object, in braces"),
        ({"clips": [{"url": ["a"]}]}, "clips[0].url", "must be a single value, not a list or an object"),
        ({"title": {"text": "x"}}, "title", "must be a single value, not a list or an object"),
        ({"languages": ["de", {"code": "ja"}]}, "languages[1]", "must be a single value, not a list or an object"),
    ],
)
async def test_a_value_of_another_form_is_refused_with_its_place(
    gateway: Proxy, bearer: dict[str, str], body: dict[str, Any], place: str, description: str
) -> None:
    answer = await gateway.http.post("/v1/videos", json={"title": "A walk", **body}, headers=bearer)
    assert answer.status_code == 400
    violations = answer.json()["details"][1]["field_violations"]
    assert violations[0] == {"field": place, "description": description}


@pytest.mark.parametrize(
    ("query", "name", "words"),
    [
        ("pagesize=3", "pagesize", "did you mean `page_size`?"),
        ("page%5fsiz=3", "page_siz", "did you mean `page_size`?"),
        ("xyzzy", "xyzzy", "the parameters are page_size, page_token"),
        ("page_size=1&a.b=1&=", "a.b", "the parameters are"),
        ("page_size.x=1", "page_size.x", "did you mean `page_size`?"),
        (f"{'x' * 500}=1", "x" * 60 + "...", "the parameters are"),
        ("%00%22%5C%0A=1", '?"\\?', "the parameters are"),
    ],
)
async def test_an_unknown_parameter_is_refused_by_its_name(
    gateway: Proxy, bearer: dict[str, str], query: str, name: str, words: str
) -> None:
    answer = await gateway.http.get(f"/v1/videos?{query}", headers=bearer)
    assert answer.status_code == 400, answer.text
    violation = answer.json()["details"][1]["field_violations"][0]
    assert violation["field"] == name
    assert violation["description"].startswith("is no parameter of this path")
    assert words in violation["description"]
    assert "moneyprinter." not in answer.text


async def test_paths_refuse_parameters_for_what_path_or_body_hold(gateway: Proxy, bearer: dict[str, str]) -> None:
    for verb, path, name in (
        ("GET", "/v1/videos/vid_1/status?job_id=vid_2", "job_id"),
        ("GET", "/v1/usage?x=1", "x"),
        ("PUT", "/v1/settings?settings.retention_days=7", "settings.retention_days"),
        ("PUT", "/v1/settings?retention_days=7", "retention_days"),
        ("POST", "/v1/assets?file_name=a.mp4", "file_name"),
    ):
        answer = await gateway.http.request(verb, path, headers=bearer)
        assert answer.status_code == 400, (path, answer.text)
        assert answer.json()["details"][1]["field_violations"][0]["field"] == name
    assert "did you mean `filename`?" in answer.text


@pytest.mark.parametrize("query", ["page_size=1", "pageSize=1", "page%5Fsize=1", "page_size=1&page_token=", "", "&&"])
async def test_parameters_by_both_of_their_names_arrive(gateway: Proxy, bearer: dict[str, str], query: str) -> None:
    answer = await gateway.http.get(f"/v1/videos?{query}", headers=bearer)
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize(
    ("query", "words"),
    [("page_size=abc", 'page_size: "abc" is not a whole number'), ("page_size=1.5", "is not a whole number")],
)
async def test_a_value_of_another_type_is_described(
    gateway: Proxy, bearer: dict[str, str], query: str, words: str
) -> None:
    answer = await gateway.http.get(f"/v1/videos?{query}", headers=bearer)
    assert answer.status_code == 400
    assert words in answer.json()["message"]
    assert "TYPE" not in answer.text


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"title": 5}, "5 is not text"),
        ({"clips": [{"speed": "fast"}]}, '"fast" is not a number'),
        ({"settings": {"width": True}}, "is not a whole number"),
    ],
)
async def test_the_type_of_a_field_is_described(
    gateway: Proxy, bearer: dict[str, str], body: dict[str, Any], words: str
) -> None:
    answer = await gateway.http.post("/v1/videos", json={"title": "x", **body}, headers=bearer)
    assert answer.status_code == 400
    assert words in answer.json()["message"]
    assert "TYPE" not in answer.text


async def test_changes_of_a_video_have_the_fields_of_a_request(gateway: Proxy, bearer: dict[str, str]) -> None:
    for body, place in (
        ({"clips": [{"titel": "x"}]}, "clips[0].titel"),
        ({"changes": {"settings": {"x": 1}}}, "changes.settings.x"),
        ({"changes": {}, "title": "x"}, "title"),
    ):
        answer = await gateway.http.post("/v1/videos/part/revise", json=body, headers=bearer)
        assert answer.status_code == 400, answer.text
        assert answer.json()["details"][1]["field_violations"][0]["field"] == place


async def test_a_body_that_replaces_everything_must_not_be_empty(gateway: Proxy, bearer: dict[str, str]) -> None:
    for content in (b"", b"{}"):
        answer = await gateway.http.put("/v1/accounts/part/roles", content=content, headers=bearer)
        assert answer.status_code == 400
        assert "names no field" in answer.json()["message"]


async def test_a_get_with_a_body_is_still_a_get(gateway: Proxy, bearer: dict[str, str]) -> None:
    for content, status in ((b'{"page_size": 1}', 400), (b"{}", 200), (b"", 200)):
        answer = await gateway.http.request("GET", "/v1/videos", content=content, headers=bearer)
        assert answer.status_code == status
