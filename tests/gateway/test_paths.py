"""For every public path, its verbs and spellings: only canonical paths are served."""

from __future__ import annotations

import asyncio
import json
import re
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

import pytest

from gateway.contracts import Method, load_methods
from tests.gateway import proxy
from tests.gateway.platform import Platform
from tests.gateway.proxy import Proxy

VERBS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND")
USER_BURST, ADDRESS_BURST = "700000", "300000"
GUARDED = ("content-security-policy", "x-content-type-options", "x-frame-options")

BOUND = {
    (binding.verb, re.sub(r"{\w+}", "part", binding.path)): method
    for method in load_methods()
    if method.public
    for binding in method.rest
}
BY_PATH: dict[str, dict[str, Method]] = defaultdict(dict)
for (_verb, _path), _method in BOUND.items():
    BY_PATH[_path][_verb] = _method
PATHS = sorted(BY_PATH)


@pytest.fixture(scope="module")
async def front(both: tuple[Platform, Proxy], tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Proxy]:
    """A gateway whose limits differ, so that a response shows which limit counted it."""
    limits = {"user_burst": int(USER_BURST), "address_burst": int(ADDRESS_BURST)}
    settings = both[0].gateway().model_copy(update=limits)
    async with proxy.run_proxy(settings, tmp_path_factory.mktemp("paths")) as running:
        await running.wait_for_keys()
        yield running


@dataclass(frozen=True)
class Answer:
    """The response to a raw request."""

    status: int
    headers: dict[str, str]
    body: str

    @property
    def limit(self) -> str | None:
        """The size of the bucket that has counted it."""
        return self.headers.get("x-ratelimit-limit")


async def send_request(front: Proxy, verb: str, path: str, token: str = "") -> Answer:
    """Send a request with exactly this path, which HTTP clients would normalise."""
    lines = [
        f"{verb} {path} HTTP/1.1",
        "host: here",
        "connection: close",
        *([f"authorization: {token}"] if token else []),
    ]
    answer = await front.send_raw("\r\n".join([*lines, "", ""]).encode("latin-1"))
    head, _, body = answer.partition("\r\n\r\n")
    first, *rest = head.split("\r\n")
    return Answer(int(first.split()[1]), dict(line.split(": ", 1) for line in rest), body)


def assert_refused(answer: Answer, *statuses: int) -> None:
    """Assert that the script refused a request before any other filter, in the form of all errors."""
    assert answer.status in statuses
    assert answer.limit is None
    error = json.loads(answer.body)
    assert error["details"][0]["reason"] in ("METHOD_UNKNOWN", "REQUEST_INVALID")
    assert all(name in answer.headers for name in GUARDED)


@pytest.mark.parametrize("path", PATHS)
async def test_a_path_supports_its_verbs_and_lists_them_in_allow(
    front: Proxy, bearer: dict[str, str], path: str
) -> None:
    token = bearer["authorization"]
    taken = {verb for pattern, verbs in BY_PATH.items() for verb in verbs if matches(pattern, path)}
    taken |= {"HEAD"} if "GET" in taken else set()
    for verb in VERBS:
        if verb in taken:
            continue
        answer = await send_request(front, verb, path, token)
        assert answer.status == 405
        assert answer.headers["allow"] == ", ".join(sorted(taken))
        if verb != "HEAD":
            assert_refused(answer, 405)


def matches(pattern: str, path: str) -> bool:
    """Report whether a path, with `part` for variable segments, matches a pattern."""
    return re.fullmatch(re.escape(pattern).replace("part", "[^/]+"), path) is not None


def canonical(path: str) -> Iterator[str]:
    """Return the spellings of a path that the specification has."""
    yield path
    if path.startswith("/v1/"):
        yield f"/api{path}"
    if path.startswith("/v1/videos"):
        yield path.removeprefix("/v1")


@pytest.mark.parametrize("path", PATHS)
async def test_each_path_has_the_token_rule_and_limit_of_its_method(
    front: Proxy, bearer: dict[str, str], path: str
) -> None:
    log = front.gateway.access_log
    assert log is not None
    # Envoy writes its log at intervals: wait for the last line only.
    paths_by_request: dict[str, str] = {}
    for verb, method in BY_PATH[path].items():
        if method.events or method.client_streaming:
            continue
        for spelling in (*canonical(path), f"{path}?", f"{path}?nonsense=1"):
            anonymous = await send_request(front, verb, spelling)
            with_token = await send_request(front, verb, spelling, bearer["authorization"])
            assert anonymous.status not in (404, 405)
            assert (anonymous.status == 401) is method.needs_token, (verb, spelling)
            assert with_token.status != 401
            own = ADDRESS_BURST if method.exchanges_credentials else None
            assert (anonymous.limit, with_token.limit) == (own, USER_BURST if method.needs_token else own)
            paths_by_request[with_token.headers["x-request-id"]] = method.path
    for request_id in paths_by_request:
        await front.wait_for_log(request_id)
    for line in log.read_text().splitlines():
        if found := [request_id for request_id in paths_by_request if request_id in line]:
            assert json.loads(line)["route"] == paths_by_request.pop(found[0])
    assert not paths_by_request


def noncanonical_spellings(path: str) -> Iterator[str]:
    """Yield spellings that some servers interpret as the path, or as another one."""
    first, _, last = path.rpartition("/")
    yield from (f"{path}/", f"{path}//", f"/{path}", f"{first}//{last}", f"{first}/./{last}", f"{first}/x/../{last}")
    yield from (f"{path}/.", f"{path}/..", f"{path}/%2e", f"{path}/%2E%2e", f"{path}/..;/audit", f"{path}/;/..")
    yield from (f"{path};", f"{path};x=1", f"{first};x/{last}", f"{path}%3b", f"{path}%3B")
    yield from (
        f"{path}%2f",
        f"{path}%2F",
        f"{first}%2f{last}",
        f"{path}%5c",
        f"{path}%5C",
        f"{path}\\",
        f"{first}\\{last}",
    )
    yield from (f"{path}%00", f"{path}%0a", f"{path}%0d%0a", f"{path}%7f", f"{path}%23", f"{path}%3f", f"{path}%252f")
    yield from (
        f"{path}#",
        f"{path}#x",
        f"{path}%",
        f"{path}%2",
        f"{path}%zz",
        f"{path}%c0%af",
        f"{path}\xe9",
        f"{path}|",
    )
    yield from (f"{first}/%{ord(last[0]):02x}{last[1:]}", f"{first}/%{ord(last[0]):02X}{last[1:]}")
    yield from (
        f"http://here{path}",
        f"https://here{path}",
        f"here{path}",
        path[1:],
        "*",
        f"/api/api{path}",
        f"/API{path}",
    )
    if path.startswith("/v1/"):
        yield from (f"/V1{path[3:]}", f"/v1/v1{path[3:]}", f"//api{path}", f"/api/{path}", f"/api%2f{path[1:]}")


@pytest.mark.parametrize("path", PATHS)
async def test_a_noncanonical_path_is_refused_before_any_filter(
    front: Proxy, bearer: dict[str, str], path: str
) -> None:
    some = asyncio.Semaphore(8)

    async def one(spelling: str, token: str) -> None:
        async with some:
            for verb in BY_PATH[path]:
                try:
                    assert_refused(await send_request(front, verb, spelling, token), 400, 404, 405)
                except AssertionError as wrong:
                    raise AssertionError(f"{verb} {spelling}") from wrong

    spelt = [
        spelling
        for spelling in noncanonical_spellings(path)
        if not any(matches(pattern, spelling) for pattern in PATHS)
    ]
    async with asyncio.TaskGroup() as group:
        for spelling in spelt:
            for token in ("", bearer["authorization"]):
                group.create_task(one(spelling, token))


async def test_a_noncanonical_grpc_path_is_refused(front: Proxy, bearer: dict[str, str]) -> None:
    path = "/moneyprinter.video.v1.VideoService/ListVideos"
    for spelling in (path.lower(), f"{path}/", f"/{path}", f"{path};", f"/api{path}", path.replace("/List", "//List")):
        assert_refused(await send_request(front, "POST", spelling, bearer["authorization"]), 400, 404)
    plain = await send_request(front, "POST", path, bearer["authorization"])
    assert (plain.status, plain.limit) == (415, None)
    assert "application/grpc" in json.loads(plain.body)["message"]
    assert (await send_request(front, "GET", path)).headers["allow"] == "POST"


@pytest.mark.parametrize("length", [9_000, 40_000, 100_000])
async def test_a_long_path_is_414(front: Proxy, length: int) -> None:
    for path in (f"/v1/videos/{'x' * length}", f"/v1/videos?title={'x' * length}"):
        answer = await send_request(front, "GET", path)
        assert answer.status == 414
        assert json.loads(answer.body)["details"][0]["reason"] == "REQUEST_TOO_LARGE"


async def test_large_headers_are_431(front: Proxy) -> None:
    for size in (40_000, 400_000):
        answer = await front.send_raw(f"GET /health HTTP/1.1\r\nhost: here\r\nx: {'x' * size}\r\n\r\n")
        assert answer.startswith("HTTP/1.1 431 ")
