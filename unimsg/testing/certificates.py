"""A certificate authority for one run, and a server's certificate signed by it, made by the `openssl` command."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from unimsg.testing.missing import program

__all__ = ["Certificates", "make_certificates"]


class Certificates(NamedTuple):
    """Paths of PEM files: the authority's certificate, the server's, the server's key, and these two in one file."""

    ca: Path
    certificate: Path
    key: Path
    chain: Path


def make_certificates(folder: Path, names: Sequence[str], days: int = 3650) -> Certificates:
    """Make them for the host names `names`; the authority's key is thrown away, so it signs nothing else."""
    ca, certificate, key, chain = (folder / name for name in ("ca.crt", "server.crt", "server.key", "server.pem"))
    ca_key = folder / "ca.key"
    # The extensions that Python 3.13 demands (VERIFY_X509_STRICT; RFC 5280, 4.2.1).
    _request("/CN=unimsg testing CA", ca, ca_key, days, "basicConstraints=critical,CA:TRUE", "keyUsage=critical,keyCertSign,cRLSign")
    _request(
        f"/CN={names[0]}",
        certificate,
        key,
        days,
        "basicConstraints=critical,CA:FALSE",
        "keyUsage=critical,digitalSignature",
        "extendedKeyUsage=serverAuth",
        "subjectAltName=" + ",".join(f"DNS:{name}" for name in names),
        signed_by=(ca, ca_key),
    )
    ca_key.unlink()
    chain.touch(mode=0o600)
    chain.write_bytes(certificate.read_bytes() + key.read_bytes())
    return Certificates(ca, certificate, key, chain)


def _request(subject: str, certificate: Path, key: Path, days: int, *extensions: str, signed_by: tuple[Path, Path] | None = None) -> None:
    command = [program("openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-batch", "-config", "/dev/null"]
    command += ["-subj", subject, "-days", str(days), "-out", str(certificate), "-keyout", str(key)]
    for extension in extensions:
        command += ["-addext", extension]
    if signed_by:
        command += ["-CA", str(signed_by[0]), "-CAkey", str(signed_by[1])]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603  (arguments of our own)
    if done.returncode:
        raise OSError(f"openssl could not make {certificate.name}: {done.stderr.strip().splitlines()[-1:]}")
