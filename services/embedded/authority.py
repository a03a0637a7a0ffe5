"""The laptop's certificate authority, which issues a certificate to each workload.

A cluster's mesh brings its own authority; this one serves the laptop platform and the tests. Keys are ECDSA P-256, and
only the owner can read the files with keys.
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

AUTHORITY_LIFETIME = timedelta(days=3650)
LEAF_LIFETIME = timedelta(days=825)
RENEW_BEFORE = timedelta(days=30)

LOOPBACK = (ipaddress.IPv4Address("127.0.0.1"), ipaddress.IPv6Address("::1"))


@dataclass(frozen=True)
class Authority:
    """An authority, and the time that new certificates are valid from."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey
    now: datetime


def issue_certificates(
    folder: Path, workloads: Iterable[str], *, trust_domain: str, namespace: str, now: datetime | None = None
) -> None:
    """Ensure that `folder` holds an authority and, for each workload, a certificate valid for at least 30 days.

    The files are `ca.pem`, `ca.key`, `<workload>/cert.pem` and `<workload>/key.pem`. A certificate that is missing,
    damaged, about to expire or issued by another authority is replaced. Tests set `now`.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    authority = _load_authority(folder, now or datetime.now(UTC))
    for workload in workloads:
        if not _is_valid(folder / workload, authority):
            identity = x509.UniformResourceIdentifier(f"spiffe://{trust_domain}/ns/{namespace}/sa/{workload}")
            names = [identity, x509.DNSName(f"{workload}.{namespace}.svc"), x509.IPAddress(LOOPBACK[0])]
            _issue_leaf(
                folder / workload, authority, names, [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
            )


def issue_gateway_certificate(folder: Path, *, now: datetime | None = None) -> Path:
    """Ensure that `folder` holds a server certificate for this machine, and return the certificate's folder.

    The gateway presents it to clients outside the mesh, as `https://localhost` and the like. It names no workload and
    cannot authenticate a caller to one. Clients verify it with `ca.pem`.
    """
    authority = _load_authority(folder, now or datetime.now(UTC))
    public = folder / "public"
    if not _is_valid(public, authority):
        names = [x509.DNSName("localhost"), *(x509.IPAddress(address) for address in LOOPBACK)]
        _issue_leaf(public, authority, names, [ExtendedKeyUsageOID.SERVER_AUTH])
    return public


def _load_authority(folder: Path, now: datetime) -> Authority:
    cert_file, key_file = folder / "ca.pem", folder / "ca.key"
    if (pair := _read_pair(cert_file, key_file)) and pair[0].not_valid_after_utc - now > LEAF_LIFETIME:
        return Authority(*pair, now)
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "MoneyPrinter laptop authority")])
    certificate = (
        _certificate_builder(name, name, key, now, AUTHORITY_LIFETIME)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(sign_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    _write_private(key_file, _key_to_pem(key))
    _write_private(cert_file, certificate.public_bytes(serialization.Encoding.PEM))
    return Authority(certificate, key, now)


def _read_pair(cert_file: Path, key_file: Path) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey] | None:
    """Return a certificate and its key; None when a file is missing or damaged, or the key is another certificate's."""
    try:
        certificate = x509.load_pem_x509_certificate(cert_file.read_bytes())
        key = serialization.load_pem_private_key(key_file.read_bytes(), None)
    except (FileNotFoundError, ValueError):
        return None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or certificate.public_key() != key.public_key():
        return None
    return certificate, key


def _is_valid(folder: Path, authority: Authority) -> bool:
    pair = _read_pair(folder / "cert.pem", folder / "key.pem")
    if pair is None or pair[0].not_valid_after_utc - authority.now < RENEW_BEFORE:
        return False
    try:
        pair[0].verify_directly_issued_by(authority.certificate)
    except (InvalidSignature, ValueError):
        return False
    return True


def _issue_leaf(
    folder: Path, authority: Authority, names: Sequence[x509.GeneralName], usages: Sequence[x509.ObjectIdentifier]
) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = (
        # SPIFFE: no subject, and therefore critical alternative names.
        _certificate_builder(x509.Name([]), authority.certificate.subject, key, authority.now, LEAF_LIFETIME)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(sign_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        .add_extension(x509.SubjectAlternativeName(names), critical=True)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key()), critical=False)
        .sign(authority.key, hashes.SHA256())
    )
    folder.mkdir(mode=0o700, exist_ok=True)
    _write_private(folder / "key.pem", _key_to_pem(key))
    _write_private(folder / "cert.pem", certificate.public_bytes(serialization.Encoding.PEM))


def _certificate_builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, now: datetime, lifetime: timedelta
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + lifetime)
    )


def _key_usage(*, sign_certificates: bool) -> x509.KeyUsage:
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


def _key_to_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _write_private(path: Path, data: bytes) -> None:
    """Write a file atomically, readable by its owner only."""
    part = path.with_suffix(".part")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
    part.replace(path)
