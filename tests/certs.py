# SPDX-License-Identifier: MIT
"""Certificates of a test, by openssl(1), in its folder."""
import subprocess

from gwtest import DIR, read, write

KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")


def openssl(*argv):
    subprocess.run(("openssl",) + argv, check=True, cwd=DIR, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def root(name):
    """NAME.crt and NAME.key of an authority"""
    openssl("req", "-x509", *KEY, "-days", "100", "-subj", "/CN=" + name, "-keyout", name + ".key",
            "-out", name + ".crt", "-addext", "keyUsage=critical,keyCertSign,cRLSign")


def leaf(name, ca, sans):
    """NAME.crt and NAME.key, signed by @ca; NAME.pem has both"""
    write(name + ".ext", "subjectAltName=" + sans + "\n")
    openssl("req", *KEY, "-subj", "/CN=" + name, "-keyout", name + ".key", "-out", name + ".csr")
    openssl("x509", "-req", "-in", name + ".csr", "-CA", ca + ".crt", "-CAkey", ca + ".key",
            "-CAcreateserial", "-days", "90", "-extfile", name + ".ext", "-out", name + ".crt")
    write(name + ".pem", read(name + ".crt") + read(name + ".key"))


def proxy_and_server(sans):
    """Authorities "proxyca" and "serverca", and "server" with these names"""
    root("proxyca")
    root("serverca")
    leaf("server", "serverca", sans)
