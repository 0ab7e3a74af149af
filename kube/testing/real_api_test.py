"""Runs contract_test on a real API server of its own: with a token and the server's certificate authority,
with a client certificate, and with the check skipped. With another authority it must fail."""

import json
import os
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(ROOT, "crds"))
from apiserver import ApiServer  # noqa: E402


def wait(what, until):
    deadline = time.monotonic() + 60
    while not until():
        if time.monotonic() > deadline:
            raise SystemExit("not within 60 s: " + what)
        time.sleep(0.1)


def openssl(*args):
    subprocess.run(["openssl", *args], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def client_certificate(directory):
    """ca.crt, and admin.crt and admin.key signed by it."""
    def path(name):
        return os.path.join(directory, name)
    openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=clients",
            "-keyout", path("ca.key"), "-out", path("ca.crt"))
    openssl("req", "-newkey", "rsa:2048", "-nodes", "-subj", "/O=system:masters/CN=admin",
            "-keyout", path("admin.key"), "-out", path("admin.csr"))
    openssl("x509", "-req", "-days", "2", "-in", path("admin.csr"), "-CA", path("ca.crt"),
            "-CAkey", path("ca.key"), "-CAcreateserial", "-out", path("admin.crt"))
    return path


def contract(kubeconfig, cases):
    return subprocess.run([os.path.join(ROOT, "kube", "contract_test"), "--gtest_filter=" + cases],
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          env={**os.environ, "KUBE_LVS_CONTRACT_KUBECONFIG": kubeconfig})


def main():
    with tempfile.TemporaryDirectory(prefix="kube-lvs-clients-") as directory:
        path = client_certificate(directory)
        with ApiServer("--client-ca-file=" + path("ca.crt")) as api:
            api.kubectl("apply", "-f", os.path.join(HERE, "things-crd.yaml"))
            wait("the kind", lambda: api.request("GET", "/apis/kube-lvs.test/v1/things")[0] == 200)
            wait("the namespace", lambda: api.request("GET", "/api/v1/namespaces/default")[0] == 200)
            trusted = {"certificate-authority": api.path("certs/apiserver.crt")}
            token = {"token": "admin-token"}
            certificate = {"client-certificate": path("admin.crt"), "client-key": path("admin.key")}

            def run(name, cluster, user, cases, passes):
                with open(api.kubeconfig) as f:
                    config = json.load(f)
                config["clusters"][0]["cluster"] = {"server": f"https://127.0.0.1:{api.port}", **cluster}
                config["users"][0]["user"] = user
                with open(api.path("kc"), "w") as f:
                    json.dump(config, f)
                done = contract(api.path("kc"), cases)
                if (done.returncode == 0) != passes:
                    raise SystemExit(f"{done.stdout}\n{name}: exit {done.returncode}")
                print("ok:", name)

            run("token", trusted, token, "*", True)
            run("client certificate", trusted, certificate, "*CreateGetDelete", True)
            run("check skipped", {"insecure-skip-tls-verify": True}, token, "*CreateGetDelete", True)
            run("another authority", {"certificate-authority": path("ca.crt")}, token, "*CreateGetDelete", False)
            run("the machine's authorities", {}, token, "*CreateGetDelete", False)


main()
