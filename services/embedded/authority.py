"""Authority: the laptop's own certificate authority, and a certificate for each workload.

A cluster's mesh has an authority of its own; this one is for a laptop and for tests. Keys are ECDSA
P-256, files of keys are readable by their owner only.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

AUTHORITY_LIFE = timedelta(days=3650)
LEAF_LIFE = timedelta(days=825)
RENEW_BEFORE = timedelta(days=30)

LOOPBACK = (ipaddress.IPv4Address("127.0.0.1"), ipaddress.IPv6Address("::1"))


@dataclass(frozen=True)
class Authority:
    """An authority, and the moment at which it issues."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey
    now: datetime


def issue(
    folder: Path, workloads: Iterable[str], *, trust_domain: str, namespace: str, now: datetime | None = None
) -> None:
    """Make sure that `folder` holds an authority and, for each workload, a certificate that is good for a month.

    The files are `ca.pem`, `ca.key`, `<workload>/cert.pem` and `<workload>/key.pem`. What is missing,
    damaged, about to expire or of another authority is made anew.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    authority = _authority(folder, now or datetime.now(UTC))
    for workload in workloads:
        if not _good(folder / workload, authority):
            identity = x509.UniformResourceIdentifier(f"spiffe://{trust_domain}/ns/{namespace}/sa/{workload}")
            names = [identity, x509.DNSName(f"{workload}.{namespace}.svc"), x509.IPAddress(LOOPBACK[0])]
            _leaf(
                folder / workload, authority, names, [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
            )


def issue_public(folder: Path, *, now: datetime | None = None) -> Path:
    """Make sure that `folder`, which has an authority, holds a certificate for this machine; returns its folder.

    It is for clients that come from outside the mesh, `https://localhost` and the like: it names no workload, and
    cannot be used to call one. Whoever is to trust it trusts `ca.pem`.
    """
    authority = _authority(folder, now or datetime.now(UTC))
    public = folder / "public"
    if not _good(public, authority):
        names = [x509.DNSName("localhost"), *(x509.IPAddress(address) for address in LOOPBACK)]
        _leaf(public, authority, names, [ExtendedKeyUsageOID.SERVER_AUTH])
    return public


def _authority(folder: Path, now: datetime) -> Authority:
    cert_file, key_file = folder / "ca.pem", folder / "ca.key"
    if (found := _read(cert_file, key_file)) and found[0].not_valid_after_utc - now > LEAF_LIFE:
        return Authority(*found, now)
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "MoneyPrinter laptop authority")])
    certificate = (
        _builder(name, name, key, now, AUTHORITY_LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(sign_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    _write(key_file, _pem(key))
    _write(cert_file, certificate.public_bytes(serialization.Encoding.PEM))
    return Authority(certificate, key, now)


def _read(cert_file: Path, key_file: Path) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey] | None:
    """A certificate and its key; None when one is missing or damaged, or they are not of each other."""
    try:
        certificate = x509.load_pem_x509_certificate(cert_file.read_bytes())
        key = serialization.load_pem_private_key(key_file.read_bytes(), None)
    except (FileNotFoundError, ValueError):
        return None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or certificate.public_key() != key.public_key():
        return None
    return certificate, key


def _good(folder: Path, authority: Authority) -> bool:
    found = _read(folder / "cert.pem", folder / "key.pem")
    if found is None or found[0].not_valid_after_utc - authority.now < RENEW_BEFORE:
        return False
    try:
        found[0].verify_directly_issued_by(authority.certificate)
    except (InvalidSignature, ValueError):
        return False
    return True


def _leaf(
    folder: Path, authority: Authority, names: Sequence[x509.GeneralName], usages: Sequence[x509.ObjectIdentifier]
) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = (
        # SPIFFE: no subject, and therefore critical alternative names.
        _builder(x509.Name([]), authority.certificate.subject, key, authority.now, LEAF_LIFE)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(sign_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        .add_extension(x509.SubjectAlternativeName(names), critical=True)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key()), critical=False)
        .sign(authority.key, hashes.SHA256())
    )
    folder.mkdir(mode=0o700, exist_ok=True)
    _write(folder / "key.pem", _pem(key))
    _write(folder / "cert.pem", certificate.public_bytes(serialization.Encoding.PEM))


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, now: datetime, life: timedelta
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + life)
    )


def _usage(*, sign_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not sign_certificates,
        key_cert_sign=sign_certificates,
        crl_sign=sign_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _write(path: Path, data: bytes) -> None:
    """Write a file that its owner alone reads, whole or not at all."""
    part = path.with_suffix(".part")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
    part.replace(path)
