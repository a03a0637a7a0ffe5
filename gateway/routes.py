"""Routes: the one list of what the gateway serves, from which its routes are made.

A request is matched once. Whether it needs a token, which rate limit counts it, what its body may hold and which
service gets it are properties of the route that was found, so that no two filters can disagree about a path.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gateway import fields, sizes
from gateway.contracts import DESCRIPTORS, HEALTH, HEALTH_PATH, Binding, Method

# What is let through where the contract takes no body: some clients send `{}` with every request.
NO_BODY_BYTES = 1024


@dataclass(frozen=True)
class Route:
    """A path and a verb of a method."""

    method: Method
    binding: Binding
    native: bool
    """Whether it is gRPC's own, and not REST."""
    body: str | None
    """The kind of the JSON that it takes, a kind of `gateway.fields`; None: bytes."""
    body_bytes: int | None
    """The largest body, which is held in memory until it is whole; None: it is a stream, and not held."""

    @property
    def match(self) -> dict[str, Any]:
        """Envoy's match of the path and the verb."""
        return {**_path(self.binding), "headers": [{"name": ":method", "string_match": {"exact": self.binding.verb}}]}

    @property
    def rewrite(self) -> str | None:
        """The path that the service knows it by, where that is another one."""
        return self.method.path if self.native and self.binding.path != self.method.path else None

    @property
    def metadata(self) -> dict[str, Any]:
        """What the scripts must know of it."""
        return {
            "served": True,
            "native": self.native,
            "token": self.method.needs_token,
            "limited": self.method.trades_secrets,
            "events": self.method.events,
            "upload": self.method.client_streaming and not self.native,
            **({} if self.body_bytes is None else {"body_bytes": self.body_bytes}),
            "statuses": {str(status): True for status in self.method.http_statuses},
        }

    @property
    def content(self) -> dict[str, str | bool]:
        """What its JSON may hold; `wrapped` is the field of the request that it may also be sent in.

        What replaces everything, `whole`, must name something: an empty list and none at all are the same to gRPC.
        """
        if self.body is None:
            return {}
        wrapped = self.binding.body if self.binding.body != "*" else ""
        return {
            "body": self.body,
            **({"wrapped": wrapped} if wrapped else {}),
            **({"whole": True} if self.binding.verb == "PUT" and self.binding.body == "*" else {}),
        }


def routes(methods: Iterable[Method], max_body_bytes: int, descriptors: Path = DESCRIPTORS) -> list[Route]:
    """The routes of some methods. Paths without parts that vary come first, as the transcoder reads them.

    `max_body_bytes` is the most that any body has that is no stream; those of many methods are smaller.
    """

    def body_bytes(method: Method, *, takes_body: bool) -> int | None:
        if method.client_streaming:
            return None
        largest = sizes.largest(method.path, descriptors).bytes if takes_body else NO_BODY_BYTES
        return min(largest, max_body_bytes)

    def native(method: Method, binding: Binding) -> Route:
        return Route(method, binding, native=True, body=None, body_bytes=body_bytes(method, takes_body=True))

    found = [
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
                    body=fields.kind_of_body(method, binding, descriptors),
                    body_bytes=body_bytes(method, takes_body=bool(binding.body)),
                )
                for binding in method.rest
            ),
        )
    ]
    return sorted(found, key=lambda route: (_places_that_vary(route.binding), route.binding.path))


def paths(found: Iterable[Route], served: Iterable[str] = ()) -> list[tuple[dict[str, Any], str]]:
    """Every path, whatever the verb, with the verbs that it takes, as in the header `allow`.

    `served` are paths that the gateway serves by itself, to GET.
    """
    bindings = [route.binding for route in found] + [Binding("GET", path, "", "") for path in served]
    every = sorted({binding.path: binding for binding in bindings}.values(), key=_places_that_vary)
    return [(_path(one), ", ".join(_verbs(one, bindings))) for one in every]


def _verbs(path: Binding, bindings: Iterable[Binding]) -> list[str]:
    """The verbs of all bindings whose path may be this one too: `/v1/accounts/me` is an account's as well."""
    example = path.path
    verbs = {binding.verb for binding in bindings if re.fullmatch(binding.expression, example)}
    return sorted(verbs | ({"HEAD"} if "GET" in verbs else set()))


def _places_that_vary(binding: Binding) -> tuple[bool, ...]:
    return tuple(part.startswith("{") for part in binding.path.split("/"))


def _path(binding: Binding) -> dict[str, Any]:
    return {"safe_regex": {"regex": binding.expression}} if binding.varies else {"path": binding.path}
