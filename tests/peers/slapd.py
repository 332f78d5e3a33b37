"""A private OpenLDAP server, slapd, with the password policy overlay and a certificate of its own."""

from __future__ import annotations

import datetime
import ipaddress
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.peers.process import Peer, free_port, require

SUFFIX = "dc=bupt,dc=example"
PEOPLE = f"ou=people,{SUFFIX}"
FORMER = f"ou=former,{SUFFIX}"
POLICY = f"cn=default,ou=policies,{SUFFIX}"
ADMIN = f"cn=admin,{SUFFIX}"
PASSWORD = "the directory's password"
CONFIG = """
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/nis.schema
include /etc/ldap/schema/inetorgperson.schema
modulepath /usr/lib/ldap
moduleload back_mdb
moduleload ppolicy
pidfile {folder}/slapd.pid
argsfile {folder}/slapd.args
TLSCACertificateFile {folder}/ca.pem
TLSCertificateFile {folder}/ca.pem
TLSCertificateKeyFile {folder}/key.pem
database mdb
maxsize 104857600
suffix "{suffix}"
rootdn "{admin}"
rootpw "{password}"
directory {folder}/data
index objectClass,uid,employeeNumber eq
overlay ppolicy
ppolicy_default "{policy}"
"""
ENTRIES = f"""
dn: {SUFFIX}
objectClass: dcObject
objectClass: organization
o: BUPT
dc: bupt

dn: {PEOPLE}
objectClass: organizationalUnit
ou: people

dn: {FORMER}
objectClass: organizationalUnit
ou: former

dn: ou=policies,{SUFFIX}
objectClass: organizationalUnit
ou: policies
"""


class Slapd(Peer):
    """Its administrator is ADMIN; without `enforce_locks`, it lets locked accounts in, as a fresh installation does."""

    @property
    def url(self) -> str:
        return f"ldap://127.0.0.1:{self.port}"

    @property
    def ca_file(self) -> str:
        return str(self.folder / "ca.pem")

    @contextmanager
    def connection(self, dn: str = ADMIN, password: str = PASSWORD) -> Iterator[Any]:
        import ldap3

        connection = ldap3.Connection(ldap3.Server("127.0.0.1", port=self.port, get_info=ldap3.NONE), dn, password)
        connection.bind()
        try:
            yield connection
        finally:
            connection.unbind()

    def enforce_locks(self) -> None:
        policy = {"cn": "default", "sn": "default", "pwdAttribute": "userPassword", "pwdLockout": "TRUE"}
        with self.connection() as connection:
            connection.add(POLICY, ["person", "pwdPolicy"], policy)

    def entries(self, base: str = SUFFIX) -> dict[str, dict[str, list[str]]]:
        """What is below `base`, by name, operational attributes too."""
        with self.connection() as connection:
            connection.search(base, "(objectClass=inetOrgPerson)", attributes=["*", "+"])
            return {entry["dn"]: dict(entry["attributes"]) for entry in connection.response}

    def set_password(self, dn: str, password: str) -> None:
        with self.connection() as connection:
            assert connection.modify(dn, {"userPassword": [("MODIFY_REPLACE", [password])]}), connection.result

    def lets_in(self, dn: str, password: str) -> bool:
        with self.connection(dn, password) as connection:
            return bool(connection.result["result"] == 0)


@contextmanager
def running_slapd(folder: Path) -> Iterator[Slapd]:
    server = shutil.which("slapd", path="/usr/sbin:/usr/local/sbin:/usr/libexec:/usr/bin")
    add = shutil.which("slapadd", path="/usr/sbin:/usr/local/sbin:/usr/bin")
    require("slapd", server and add)
    assert server
    assert add
    (folder / "data").mkdir()
    config, entries, port = folder / "slapd.conf", folder / "entries.ldif", free_port()
    config.write_text(CONFIG.format(folder=folder, suffix=SUFFIX, admin=ADMIN, password=PASSWORD, policy=POLICY))
    entries.write_text(ENTRIES)
    _make_certificate(folder)
    subprocess.run([add, "-f", str(config), "-l", str(entries)], check=True, capture_output=True)
    # -d keeps it in the foreground
    peer = Slapd([server, "-f", str(config), "-h", f"ldap://127.0.0.1:{port}", "-d", "0"], folder, port)
    peer.start()
    try:
        yield peer
    finally:
        peer.stop()


def _make_certificate(folder: Path) -> None:
    """For 127.0.0.1, signed by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=2))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    (folder / "ca.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "key.pem").write_bytes(private)
