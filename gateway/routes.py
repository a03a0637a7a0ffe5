"""The routes of the gateway, built from the contracts.

Envoy matches a request once. Whether it needs a token, which rate limit counts it, what its body may hold and which
service receives it are properties of the matched route, so that no two filters can disagree about a path.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gateway import fields, sizes
from gateway.contracts import DESCRIPTORS, HEALTH, HEALTH_PATH, Binding, Method

# The limit where the contract has no body: some clients send `{}` with every request.
NO_BODY_BYTES = 1024


@dataclass(frozen=True)
class Route:
    """A path and an HTTP verb of a method."""

    method: Method
    binding: Binding
    native: bool
    """Whether it is the gRPC path; False for REST."""
    body: str | None
    """The kind of its JSON body, as in `gateway.fields`; None: bytes."""
    body_bytes: int | None
    """The largest body, which Envoy buffers until it is complete; None: a stream, which is not buffered."""

    @property
    def match(self) -> dict[str, Any]:
        """Envoy's match of the path and the verb."""
        verb: dict[str, Any] = {"exact": self.binding.verb}
        if self.method.is_link and not self.native:
            # Envoy takes the mutations of headers from the first match, before the script turns HEAD into GET.
            verb = {"safe_regex": {"regex": f"{self.binding.verb}|HEAD"}}
        return {**_match_path(self.binding), "headers": [{"name": ":method", "string_match": verb}]}

    @property
    def rewrite(self) -> str | None:
        """The path at the service, where it differs."""
        return self.method.path if self.native and self.binding.path != self.method.path else None

    @property
    def metadata(self) -> dict[str, Any]:
        """The properties that `edge.lua` reads."""
        return {
            "served": True,
            "native": self.native,
            "token": self.method.needs_token,
            "limited": self.method.exchanges_credentials,
            "events": self.method.events,
            "upload": self.method.client_streaming and not self.native,
            **({} if self.body_bytes is None else {"body_bytes": self.body_bytes}),
            "statuses": {str(status): True for status in self.method.http_statuses},
        }

    @property
    def field_rules(self) -> dict[str, Any]:
        """The rules for its query and its JSON body, which `fields.lua` reads.

        `query` is the kind of the request, whose fields parameters name, and `named` are the fields that path and body
        hold. `wrapped` is the field of the request in which clients may also send the body. `whole` marks a body that
        replaces everything and so must not be empty: gRPC does not distinguish an empty list from none.
        """
        if self.native:
            return {}
        wrapped = self.binding.body if self.binding.body != "*" else ""
        held = {*re.findall(r"{(\w+)}", self.binding.path), wrapped} - {""}
        query = {"query": self.method.request, "named": dict.fromkeys(sorted(held), True)}
        if self.body is None:
            return query
        return {
            **query,
            "body": self.body,
            **({"wrapped": wrapped} if wrapped else {}),
            **({"whole": True} if self.binding.verb == "PUT" and self.binding.body == "*" else {}),
        }


def build_routes(methods: Iterable[Method], max_body_bytes: int, descriptors: Path = DESCRIPTORS) -> list[Route]:
    """Build the routes of methods. Paths without variable segments come first, as in the transcoder.

    `max_body_bytes` is the limit of every body that is not a stream; many methods have a smaller one.
    """

    def body_bytes(method: Method, *, takes_body: bool) -> int | None:
        if method.client_streaming:
            return None
        largest = sizes.max_request_size(method.path, descriptors).bytes if takes_body else NO_BODY_BYTES
        return min(largest, max_body_bytes)

    def native(method: Method, binding: Binding) -> Route:
        return Route(method, binding, native=True, body=None, body_bytes=body_bytes(method, takes_body=True))

    built = [
        route
        for method in methods
        for route in (
            native(method, method.native),
            *(
                native(method, Binding("POST", HEALTH_PATH + method.path.rpartition("/")[2], "", ""))
                for _ in range(method.contract == HEALTH)
            ),
            *(
                Route(
                    method,
                    binding,
                    native=False,
                    body=fields.body_kind(method, binding, descriptors),
                    body_bytes=body_bytes(method, takes_body=bool(binding.body)),
                )
                for binding in method.rest
            ),
        )
    ]
    return sorted(built, key=lambda route: (_variable_segments(route.binding), route.binding.path))


def list_paths(routes: Iterable[Route], served: Iterable[str] = ()) -> list[tuple[dict[str, Any], str]]:
    """Return the match of every path with its verbs, as for the header `allow`.

    `served` are the paths of files that the gateway itself serves to GET.
    """
    bindings = [route.binding for route in routes] + [Binding("GET", path, "", "") for path in served]
    every = sorted({binding.path: binding for binding in bindings}.values(), key=_variable_segments)
    return [(_match_path(one), ", ".join(_allowed_verbs(one, bindings))) for one in every]


def _allowed_verbs(path: Binding, bindings: Iterable[Binding]) -> list[str]:
    """Return the verbs of all bindings that match a path: `/v1/accounts/me` also matches `/v1/accounts/{id}`."""
    example = path.path
    verbs = {binding.verb for binding in bindings if re.fullmatch(binding.regex, example)}
    return sorted(verbs | ({"HEAD"} if "GET" in verbs else set()))


def _variable_segments(binding: Binding) -> tuple[bool, ...]:
    return tuple(part.startswith("{") for part in binding.path.split("/"))


def _match_path(binding: Binding) -> dict[str, Any]:
    return {"safe_regex": {"regex": binding.regex}} if binding.has_variables else {"path": binding.path}
