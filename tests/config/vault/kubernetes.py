"""Kubernetes: a server of the TokenReview API (authentication.k8s.io/v1), which knows the tokens that it issued."""

from __future__ import annotations

import asyncio
import json
import ssl
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec

from services.embedded import ports


class TokenReviewer:
    """The API server of a cluster, reduced to the review of tokens."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._users: dict[str, str] = {}

    def issue_token(self, user: str) -> str:
        """Return the token of a service account."""
        namespace, account = user.split(":")[2:]
        claims = {
            "iss": "https://kubernetes.default.svc.cluster.local",
            "sub": user,
            "kubernetes.io": {"namespace": namespace, "serviceaccount": {"name": account, "uid": "1"}},
        }
        token = jwt.encode(claims, self._key, algorithm="ES256")
        self._users[token] = user
        return token

    def review(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return the response to a TokenReview."""
        # The client leaves out kind and version, which the address gives.
        user = self._users.get(request["spec"]["token"])
        if user is None:
            status: dict[str, Any] = {"authenticated": False, "error": "the token is unknown"}
        else:
            status = {
                "authenticated": True,
                "user": {"username": user, "uid": "1", "groups": ["system:serviceaccounts"]},
            }
        return {"kind": "TokenReview", "apiVersion": "authentication.k8s.io/v1", **request, "status": status}


@asynccontextmanager
async def run_token_reviewer(certificates: Path) -> AsyncIterator[TokenReviewer]:
    """Run the API server on a free port while the context is open."""
    [port] = ports.pick_ports()
    reviewer = TokenReviewer(f"https://127.0.0.1:{port}")

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert self.path == "/apis/authentication.k8s.io/v1/tokenreviews"
            assert self.headers["authorization"] == "Bearer a-token"
            body = json.dumps(reviewer.review(json.loads(self.rfile.read(int(self.headers["content-length"])))))
            self.send_response(201)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_: object) -> None:
            """Write no log."""

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates / "config" / "cert.pem", certificates / "config" / "key.pem")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield reviewer
    finally:
        await asyncio.to_thread(server.shutdown)
        server.server_close()
