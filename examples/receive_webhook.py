"""Receive webhooks: listen on a port, have events posted there, verify each signature, and print the event.

    moneyprinter up --allow-local                                    # in one terminal: it may post to this machine
    export MONEYPRINTER_TOKEN=$(moneyprinter token)
    python examples/receive_webhook.py --port 8000                   # in another

On a server on the internet, give --url: the https address that leads to its port. The program needs the package
`standardwebhooks` beside the client. It removes its webhook when it ends (Ctrl-C).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import ssl
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from standardwebhooks import Webhook, WebhookVerificationError

from moneyprinter import errors
from moneyprinter.client import Client
from moneyprinter.video.v1 import webhook_service_pb2 as pb


class Handler(BaseHTTPRequestHandler):
    """Accepts events with a valid signature (204), and refuses all else (401)."""

    secret = ""

    def do_POST(self) -> None:
        """Verify one post and print its event. An event may be posted twice: its `webhook-id` is the same then."""
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        try:
            Webhook(self.secret).verify(body, {name.lower(): value for name, value in self.headers.items()})
        except (WebhookVerificationError, ValueError, KeyError):
            self.send_response(401)
        else:
            event = json.loads(body)
            print("verified", self.headers["webhook-id"], event["event_type"], event["job_id"], flush=True)
            self.send_response(204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Log no requests."""


async def receive(options: argparse.Namespace) -> None:
    """Serve posts until SIGINT or SIGTERM."""
    server = ThreadingHTTPServer(("127.0.0.1", options.port), Handler)
    url = options.url or f"http://127.0.0.1:{server.server_port}/"
    if options.certificate:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(options.certificate, options.key)
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        url = options.url or f"https://127.0.0.1:{server.server_port}/"
    ended = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    token, api_key = os.environ.get("MONEYPRINTER_TOKEN", ""), os.environ.get("MONEYPRINTER_API_KEY", "")
    async with Client(options.address, token=token, api_key=api_key) as client:
        made = await client.webhooks.CreateWebhook(pb.CreateWebhookRequest(url=url, event_types=options.event))
        Handler.secret = made.secret
        threading.Thread(target=server.serve_forever, daemon=True).start()
        print(f"Listening at {url}", flush=True)
        try:
            await ended.wait()
        finally:
            server.shutdown()
            await client.webhooks.DeleteWebhook(pb.DeleteWebhookRequest(webhook_id=made.webhook.webhook_id))


def parse_options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", default=8000, type=int, help="the port to listen on; 0: any free one")
    parser.add_argument("--url", default="", help="the public address of this port; without it: this machine")
    parser.add_argument("--certificate", default="", help="serve https with this certificate chain (PEM)")
    parser.add_argument("--key", default=None, help="the certificate's key (PEM)")
    parser.add_argument("--event", action="append", default=[], help="only this event type; may be given several times")
    parser.add_argument("--address", default="127.0.0.1:8080", help="host:port of the platform's gateway")
    return parser.parse_args()


if __name__ == "__main__":
    try:
        asyncio.run(receive(parse_options()))
    except (errors.Error, OSError) as failure:
        sys.exit(f"error: {failure}")
