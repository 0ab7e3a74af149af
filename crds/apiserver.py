"""A real API server for a test: etcd and kube-apiserver on loopback, with ports and files of their own.

    with ApiServer() as api:
        api.kubectl("apply", "-f", "x.yaml")
        status, body = api.request("GET", "/version")

Takes `clusterbox` and `helm` from ~/.cache/kube-lvs/bin, where e2e/cluster/build.sh puts them.
Leaving the block ends both processes and removes every file.
"""

import json
import os
import pwd
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request


def bin_dir():
    """Where e2e/cluster/build.sh puts programs: Bazel unsets HOME, so the home is the password file's."""
    environment = os.environ
    home_cache = os.path.join(pwd.getpwuid(os.getuid()).pw_dir, ".cache")
    cache = environment.get("KUBE_LVS_CACHE") or os.path.join(
        environment.get("XDG_CACHE_HOME") or home_cache, "kube-lvs")
    return os.path.join(cache, "bin")


def free_ports(count):
    """Ports that nobody listens on now; all held at once, so that they differ."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for s in sockets:
            s.bind(("127.0.0.1", 0))
        return [s.getsockname()[1] for s in sockets]
    finally:
        for s in sockets:
            s.close()


class ApiServer:
    def __init__(self, *flags):
        """`flags` are added to the API server's."""
        self.flags = flags

    def __enter__(self):
        for tool in ("clusterbox", "helm"):
            if not os.access(os.path.join(bin_dir(), tool), os.X_OK):
                raise SystemExit(f"no {tool} in {bin_dir()}: e2e/cluster/build.sh {tool}")
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # through __exit__
        self.dir = tempfile.mkdtemp(prefix="kube-lvs-api-", dir=os.environ.get("TEST_TMPDIR"))
        self.processes = []
        try:
            self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *unused):
        for process in self.processes:  # SIGTERM would let the API server live on for a while
            process.send_signal(signal.SIGKILL)
            process.wait()
        shutil.rmtree(self.dir)

    def path(self, name):
        return os.path.join(self.dir, name)

    def _spawn(self, name, *args):
        with open(self.path(name + ".log"), "w") as log:
            self.processes.append(subprocess.Popen(
                [os.path.join(bin_dir(), "clusterbox"), name, *args],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.dir))

    def _start(self):
        client, peer, self.port = free_ports(3)
        subprocess.run(["openssl", "genrsa", "-out", self.path("sa.key"), "2048"], check=True,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        with open(self.path("tokens.csv"), "w") as f:
            f.write("admin-token,admin,admin,system:masters\n")
        self.kubeconfig = self.path("kubeconfig")
        with open(self.kubeconfig, "w") as f:
            json.dump({
                "apiVersion": "v1", "kind": "Config", "current-context": "c",
                "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
                "clusters": [{"name": "c", "cluster": {"server": f"https://127.0.0.1:{self.port}",
                                                       "insecure-skip-tls-verify": True}}],
                "users": [{"name": "u", "user": {"token": "admin-token"}}]}, f)
        url = f"http://127.0.0.1:{client}"
        self._spawn("etcd", "--data-dir=" + self.path("etcd"), "--unsafe-no-fsync", "--log-level=error",
                    f"--listen-client-urls={url}", f"--advertise-client-urls={url}",
                    f"--listen-peer-urls=http://127.0.0.1:{peer}")
        self._spawn("kube-apiserver", f"--etcd-servers={url}",
                    "--service-account-key-file=" + self.path("sa.key"),
                    "--service-account-signing-key-file=" + self.path("sa.key"),
                    "--service-account-issuer=https://kubernetes.default.svc",
                    "--authorization-mode=Node,RBAC", "--token-auth-file=" + self.path("tokens.csv"),
                    "--cert-dir=" + self.path("certs"), "--bind-address=127.0.0.1",
                    f"--secure-port={self.port}", "--service-cluster-ip-range=10.96.0.0/16",
                    "--allow-privileged=true", *self.flags)
        deadline = time.monotonic() + 60
        while True:
            for process in self.processes:
                if process.poll() is not None:
                    raise SystemExit("the control plane ended:\n" + self.logs())
            try:
                if self.request("GET", "/readyz")[0] == 200:
                    return
            except OSError:
                pass
            if time.monotonic() > deadline:
                raise SystemExit("the API server was not ready within 60 s:\n" + self.logs())
            time.sleep(0.1)

    def logs(self):
        text = ""
        for name in ("etcd", "kube-apiserver"):
            if os.path.exists(self.path(name + ".log")):
                with open(self.path(name + ".log")) as f:
                    text += f"--- {name}\n{f.read()[-2000:]}\n"
        return text

    def request(self, method, path, body=None, token="admin-token", content_type="application/json"):
        """(HTTP status, decoded body) of one API call; a refusal is a status, not an exception."""
        context = ssl.create_default_context()
        context.check_hostname = False  # a self-signed certificate, on loopback, made a second ago
        context.verify_mode = ssl.CERT_NONE
        request = urllib.request.Request(
            f"https://127.0.0.1:{self.port}{path}", method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": "Bearer " + token, "Content-Type": content_type,
                     "Accept": "application/json"})
        try:
            with urllib.request.urlopen(request, context=context, timeout=30) as response:
                status, text = response.status, response.read()
        except urllib.error.HTTPError as error:
            status, text = error.code, error.read()
        try:
            return status, json.loads(text)
        except ValueError:
            return status, text.decode(errors="replace")

    def _run(self, argv, check):
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True, cwd=self.dir,
                              env={"PATH": os.environ["PATH"], "HOME": self.dir,
                                   "KUBECONFIG": self.kubeconfig})
        if check and done.returncode != 0:
            raise AssertionError(f"{' '.join(argv[1:])}: exit {done.returncode}\n{done.stdout}{done.stderr}")
        return done

    def kubectl(self, *args, check=True):
        return self._run([os.path.join(bin_dir(), "clusterbox"), "kubectl", *args], check)

    def helm(self, *args, check=True):
        return self._run([os.path.join(bin_dir(), "helm"), *args], check)
