"""The authority issues certificates once, renews them in time, and keeps them readable by their owner only."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from services.embedded import authority


def issue(folder: Path, now: datetime | None = None) -> x509.Certificate:
    """Issue, and return the certificate of the workload."""
    authority.issue_certificates(folder, ["audio"], trust_domain="cluster.local", namespace="moneyprinter", now=now)
    return x509.load_pem_x509_certificate((folder / "audio" / "cert.pem").read_bytes())


def test_a_certificate_names_its_workload_and_is_issued_once(tmp_path: Path) -> None:
    first = issue(tmp_path)
    names = first.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.UniformResourceIdentifier) == [
        "spiffe://cluster.local/ns/moneyprinter/sa/audio"
    ]
    assert names.get_values_for_type(x509.DNSName) == ["audio.moneyprinter.svc"]
    assert issue(tmp_path) == first


def test_keys_are_readable_by_their_owner_only(tmp_path: Path) -> None:
    issue(tmp_path / "certificates")
    for path in [tmp_path / "certificates", *(tmp_path / "certificates").rglob("*")]:
        assert path.stat().st_mode & 0o777 == (0o700 if path.is_dir() else 0o600), path


@pytest.mark.parametrize("days", [10, -1], ids=["about to expire", "expired"])
def test_a_certificate_is_renewed(tmp_path: Path, days: int) -> None:
    now = datetime.now(UTC)
    old = issue(tmp_path, now - authority.LEAF_LIFETIME + timedelta(days=days))
    ca = (tmp_path / "ca.pem").read_bytes()
    renewed = issue(tmp_path, now)
    assert renewed != old
    assert renewed.not_valid_after_utc - now > authority.LEAF_LIFETIME - timedelta(days=1)
    assert (tmp_path / "ca.pem").read_bytes() == ca


def test_a_new_authority_replaces_all_certificates(tmp_path: Path) -> None:
    old = issue(tmp_path)
    (tmp_path / "ca.key").unlink()
    renewed = issue(tmp_path)
    assert renewed != old
    renewed.verify_directly_issued_by(x509.load_pem_x509_certificate((tmp_path / "ca.pem").read_bytes()))


def test_an_authority_is_renewed_before_its_certificates_outlive_it(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    issue(tmp_path, now - authority.AUTHORITY_LIFETIME + timedelta(days=1))
    issue(tmp_path, now)
    ca = x509.load_pem_x509_certificate((tmp_path / "ca.pem").read_bytes())
    assert ca.not_valid_after_utc > now + authority.LEAF_LIFETIME


@pytest.mark.parametrize("name", ["cert.pem", "key.pem"])
def test_a_damaged_certificate_is_replaced(tmp_path: Path, name: str) -> None:
    issue(tmp_path)
    (tmp_path / "audio" / name).write_text("damaged")
    issue(tmp_path)
    assert b"BEGIN" in (tmp_path / "audio" / name).read_bytes()
