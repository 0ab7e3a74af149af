"""Runs contract_test on a real API server of its own: first trusting its certificate authority, then
by a client that was told to skip the check."""

import json
import os
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(ROOT, "crds"))
from apiserver import ApiServer  # noqa: E402


def wait(what, until):
    deadline = time.monotonic() + 30
    while not until():
        if time.monotonic() > deadline:
            raise SystemExit("not within 30 s: " + what)
        time.sleep(0.1)


def main():
    with ApiServer() as api:
        api.kubectl("apply", "-f", os.path.join(HERE, "things-crd.yaml"))
        wait("the kind", lambda: api.request("GET", "/apis/kube-lvs.test/v1/things")[0] == 200)
        wait("the namespace", lambda: api.request("GET", "/api/v1/namespaces/default")[0] == 200)
        with open(api.kubeconfig) as f:
            trusting = json.load(f)
        trusting["clusters"][0]["cluster"] = {
            "server": f"https://127.0.0.1:{api.port}",
            "certificate-authority": api.path("certs/apiserver.crt")}
        kubeconfig = api.path("trusting")
        with open(kubeconfig, "w") as f:
            json.dump(trusting, f)
        test = os.path.join(ROOT, "kube", "contract_test")
        for config, cases in ((kubeconfig, "*"), (api.kubeconfig, "*CreateGetDelete")):
            done = subprocess.run([test, "--gtest_filter=" + cases], stdin=subprocess.DEVNULL,
                                  env={**os.environ, "KUBE_LVS_CONTRACT_KUBECONFIG": config})
            if done.returncode != 0:
                raise SystemExit(done.returncode)


main()
