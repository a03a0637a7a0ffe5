"""Layers of settings: which one counts, what stops the start, and what `moneyprinter config` prints of them."""

from __future__ import annotations

import json
import os
import tomllib
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from moneyprinter.config.v1 import config_service_pb2 as pb
from moneyprinter.config.v1 import config_service_pb2_grpc as pb_grpc
from services.audio.config import Config as Audio
from services.cli import app
from services.config.config import Config as ConfigService
from services.monitoring.config import Config as Monitoring
from services.orchestrator.config import Config as Orchestrator
from services.runtime import server
from services.runtime.config import ConfigError, RuntimeConfig
from services.runtime.layers import FILE_VARIABLE, find_unknown_variables, load, redact, schema, variable_of
from services.validation.config import Config as Validation
from tests.mesh import Mesh

FILE = """
environment = "staging"
[audio]
words_per_minute = 150
max_mix_seconds = 60
speech_order = ["google"]
[production.audio]
words_per_minute = 170
[runtime]
hosts = { audio = "audio.example" }
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file of settings that is in use."""
    path = tmp_path / "settings.toml"
    path.write_text(FILE)
    monkeypatch.setenv(FILE_VARIABLE, str(path))
    return path


def test_each_layer_replaces_the_ones_below(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MONEYPRINTER_AUDIO_MAX_CALLS", "9")
    audio = load(Audio, stored={"max_mix_seconds": "90", "max_calls": 8})
    assert audio.max_calls == 9
    assert audio.max_mix_seconds == 90
    assert (audio.words_per_minute, audio.speech_order) == (150, ("google",))
    assert audio.provider_samples is False, "staging has another default"
    assert audio.provider_timeout_seconds == 10
    monkeypatch.setenv("MONEYPRINTER_AUDIO_PROVIDER_SAMPLES", "true")
    assert load(Audio).provider_samples is True
    monkeypatch.setenv("MONEYPRINTER_ENVIRONMENT", "production")
    assert load(Audio).words_per_minute == 170


def test_a_variable_replaces_a_whole_table_of_the_file(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert load(RuntimeConfig).hosts == {"audio": "audio.example"}
    monkeypatch.setenv("MONEYPRINTER_RUNTIME_HOSTS", '{"user": "user.example"}')
    assert load(RuntimeConfig).hosts == {"user": "user.example"}


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("MONEYPRINTER_AUDIO_WORD_PER_MINUTE", "; did you mean MONEYPRINTER_AUDIO_WORDS_PER_MINUTE?"),
        ("MONEYPRINTER_AUDOI_WORDS_PER_MINUTE", "; did you mean MONEYPRINTER_AUDIO_WORDS_PER_MINUTE?"),
        ("moneyprinter_user_registraton", "; did you mean MONEYPRINTER_USER_REGISTRATION?"),
        ("MONEYPRINTER_ENVIROMENT", "; did you mean MONEYPRINTER_ENVIRONMENT?"),
        ("MONEYPRINTER_XYZZY", "; `moneyprinter config show` lists all"),
    ],
)
def test_an_unknown_variable_of_any_service_stops_every_start(
    monkeypatch: pytest.MonkeyPatch, name: str, nearest: str
) -> None:
    monkeypatch.setenv(name, "1")
    with pytest.raises(ConfigError) as refused:
        load(Monitoring)
    assert str(refused.value) == f"{name} is no setting{nearest}"


def test_every_setting_of_every_service_has_a_variable() -> None:
    assert not list(
        find_unknown_variables(variable_of(kind, name) for kind in schema().values() for name in kind.model_fields)
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[audio]\nword_per_minute = 1", "[audio]: word_per_minute is no setting; did you mean words_per_minute?"),
        ("[audoi]\nx = 1", "[audoi] is no service; did you mean audio?"),
        ("[prodution.audio]\nmax_calls = 1", "[prodution] is no service; did you mean production?"),
        ("[production.audio]\nmax_cals = 1", "[production.audio]: max_cals is no setting; did you mean max_calls?"),
        ("audio = 1", "[audio] is not a table"),
        ("production = 1", "[production] is not a table"),
        ("[audio", "is not TOML"),
        ("environment = 'prod'", "'prod' is no environment; those are development, staging, production"),
        ("environment = 3", "3 is no environment"),
        ("[audio]\nmax_calls = 0", "audio.max_calls of the file: Input should be greater than or equal to 1"),
        ("\xff", "is not TOML"),
    ],
)
def test_a_wrong_file_stops_the_start_in_one_line(file: Path, text: str, words: str) -> None:
    file.write_bytes(text.encode("latin-1"))
    with pytest.raises(ConfigError) as refused:
        load(Audio)
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_file_that_cannot_be_read_stops_the_start(file: Path) -> None:
    file.unlink()
    with pytest.raises(ConfigError, match=r"MONEYPRINTER_CONFIG_FILE: .* cannot be read"):
        load(Audio)


def test_a_variable_that_is_not_json_stops_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MONEYPRINTER_RUNTIME_PORTS", "{x")
    with pytest.raises(ConfigError, match="MONEYPRINTER_RUNTIME_PORTS: its value is not JSON"):
        load(RuntimeConfig)


@pytest.mark.parametrize(
    ("kind", "values", "words"),
    [
        (Validation, {"allow_http": True}, "MONEYPRINTER_VALIDATION_ALLOW_HTTP: production refuses clips without TLS"),
        (
            Validation,
            {"allowed_networks": ["127.0.0.0/8"]},
            "ALLOWED_NETWORKS: production refuses the addresses of",
        ),
        (RuntimeConfig, {"reflection": True}, "REFLECTION: production refuses"),
        (RuntimeConfig, {"log_level": "debug"}, "LOG_LEVEL: production refuses"),
        (Orchestrator, {"database": "host=db sslmode=require"}, "DATABASE: production refuses a connection without"),
        (
            Orchestrator,
            {"database": "postgresql://u:pw@db/x?sslmode=verify-full"},
            "DATABASE: production refuses a pass",
        ),
        (Orchestrator, {"database": "host=/run password=pw"}, "DATABASE: production refuses a password"),
        (Orchestrator, {"database": "host=/run", "nats": "nats://n:4222"}, "NATS: production refuses NATS without TLS"),
        (schema()["gateway"], {"addresses": {}, "bind": "0.0.0.0"}, "GATEWAY_TLS: production refuses plain HTTP"),  # noqa: S104
    ],
)
def test_production_refuses_insecure_settings(
    monkeypatch: pytest.MonkeyPatch, kind: Any, values: dict[str, Any], words: str
) -> None:
    assert load(kind, given=values)
    monkeypatch.setenv("MONEYPRINTER_ENVIRONMENT", "production")
    with pytest.raises(ConfigError) as refused:
        load(kind, given=values)
    assert words in str(refused.value)
    assert "pw" not in str(refused.value)


def test_production_accepts_secure_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MONEYPRINTER_ENVIRONMENT", "production")
    secure = "host=db user=u passfile=/f sslmode=verify-full sslrootcert=/ca"
    for kind, values in ((Validation, {}), (RuntimeConfig, {}), (Orchestrator, {"database": secure})):
        assert load(kind, given=values)


def test_passwords_are_left_out() -> None:
    for text in ("host=a password=pw", "host=a password = 'p w\\'s' user=b", "PASSWORD='pw'", "tls://u:pw@nats:4222"):
        assert "p w" not in redact(text)
        assert "pw" not in redact(text)
    assert redact("tls://nats:4222") == "tls://nats:4222"


def run(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["config", *arguments])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.output


def test_show_prints_a_file_that_changes_nothing(file: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MONEYPRINTER_USER_DATABASE", "host=/run password=pw")
    code, output = run("show")
    assert code == 0
    assert "pw" not in output
    printed = tomllib.loads(output)
    assert printed["audio"]["words_per_minute"] == 150
    assert printed.keys() == {"environment", *schema()}
    assert "words_per_minute = 150  # file\n" in output
    assert "provider_samples = false  # staging\n" in output
    (tmp_path / "other.toml").write_text(output)
    monkeypatch.setenv(FILE_VARIABLE, str(tmp_path / "other.toml"))
    assert tomllib.loads(run("show")[1]) == printed
    assert set(tomllib.loads(run("show", "audio", "storage")[1])) == {"environment", "audio", "storage"}


def test_show_with_changed_leaves_out_the_defaults(file: Path) -> None:
    _, output = run("show", "--changed", "audio")
    shown = set(tomllib.loads(output)["audio"])
    assert {"words_per_minute", "max_mix_seconds", "speech_order", "provider_samples"} <= shown
    assert "max_calls" not in shown


def test_diff_compares_environments_and_the_defaults(file: Path) -> None:
    _, output = run("diff")
    assert "audio.words_per_minute: 165 -> 150 (file)\n" in output
    assert "gateway" not in output
    _, output = run("diff", "staging", "production")
    assert "audio.words_per_minute: 150 -> 170 (file)\n" in output
    assert "orchestrator.retention_days: 30 -> 0 (default)\n" in output
    assert run("diff", "production", "production") == (0, "")


def test_check_prints_every_fault(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run("check") == (0, "The settings are valid.\n")
    file.write_text("[audio]\nwords_per_minute = 1\n[validation]\nallow_http = true\n[gateway]\nbind = '0.0.0.0'")
    monkeypatch.setenv("MONEYPRINTER_USER_REGISTRATON", "open")
    monkeypatch.setenv("MONEYPRINTER_STORAGE_MAX_CALLS", "many")
    code, output = run("check", "--environment", "production")
    assert code == 1
    begins = [line.partition(":")[0].partition(" ")[0] for line in output.splitlines()]
    assert begins == [
        "MONEYPRINTER_USER_REGISTRATON",
        "MONEYPRINTER_GATEWAY_TLS",
        "MONEYPRINTER_ORCHESTRATOR_DATABASE",
        "audio.words_per_minute",
        "MONEYPRINTER_VALIDATION_ALLOW_HTTP",
        "MONEYPRINTER_STORAGE_MAX_CALLS",
        "MONEYPRINTER_USER_DATABASE",
    ]


@pytest.fixture
async def secrets(mesh: Mesh, tmp_path: Path) -> Mesh:
    """A config service with encrypted files."""
    (tmp_path / "key").write_bytes(os.urandom(32))
    await mesh.start("config", ConfigService(store=tmp_path / "secrets", master_key_file=tmp_path / "key"))
    return mesh


async def test_a_service_reads_its_stored_settings(secrets: Mesh, monkeypatch: pytest.MonkeyPatch) -> None:
    stub = secrets.stub(pb_grpc.ConfigServiceStub, caller="audio")
    used: list[Audio] = []

    def wire(settings: Audio, _: server.Runtime) -> None:
        used.append(settings)
        raise ConfigError("the wiring ends here")

    monkeypatch.setattr("services.audio.server.wire", wire)
    monkeypatch.setenv("MONEYPRINTER_AUDIO_MAX_CALLS", "9")
    config = secrets.config.model_copy(update={"stored_settings": True})
    for version, (value, words) in enumerate(
        [
            (json.dumps({"words_per_minute": "150", "max_calls": 8}), "the wiring ends here"),
            (json.dumps({"word_per_minute": "150"}), "the secret audio/settings: word_per_minute is no setting"),
            (json.dumps([1]), "the secret audio/settings is not a table of settings"),
            ("text", "the secret audio/settings is no JSON object"),
        ]
    ):
        request = pb.PutSecretRequest(name="audio/settings", value=value.encode(), replaces_version=version)
        await stub.PutSecret(request)
        with pytest.raises(ConfigError, match=words):
            async with server.run_service("audio", config):
                pass
    assert [(each.words_per_minute, each.max_calls) for each in used] == [(150, 9)]
