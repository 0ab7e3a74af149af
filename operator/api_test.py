"""The operator against a real API server: pools, VIPs, groups, conditions, SIGKILL, change of leader.

Everything is installed from dist/install.yaml, and the operators have the rights that it gives them.
Nodes, LVSNodes and EndpointSlices are made by hand: no kubelet and no agent runs here.
"""

import json
import os
import signal
import subprocess
import tempfile
import time
import urllib.request

from apiserver import ApiServer

LVS = "/apis/kube-lvs.io/v1alpha1"
SERVICES = f"{LVS}/namespaces/shop/lvsservices"
BINARY = next(p for p in ("operator/kube-lvs-operator", "bazel-bin/operator/kube-lvs-operator")
              if os.access(p, os.X_OK))


OPERATOR = "system:serviceaccount:kube-lvs:kube-lvs-operator"
# What it may and does not do here: repeat an Event, and read a service whose spec the schema would have refused.
RARE = {("", "events", "patch"), ("kube-lvs.io", "lvsservices", "get")}


class Operator:
    def __init__(self, api, name, kubeconfig, flags):
        self.name, self.log = name, api.path(f"{name}.log")
        with open(self.log, "w") as log:
            self.process = subprocess.Popen(
                [os.path.abspath(BINARY), "--kubeconfig", kubeconfig, "--namespace=kube-lvs",
                 "--metrics-address=127.0.0.1:0", *flags],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                env={"POD_NAME": name, "PATH": os.environ["PATH"]})

    def lines(self):
        with open(self.log) as f:
            return [json.loads(line) for line in f if line.startswith("{")]

    def get(self, path):
        started = next(line for line in self.lines() if line["msg"] == "started")
        with urllib.request.urlopen(f"http://{started['metrics']}{path}", timeout=5) as response:
            return response.read().decode()

    def leads(self):
        return "\nkube_lvs_operator_leader 1\n" in self.get("/metrics")

    def written(self):
        for line in self.get("/metrics").splitlines():
            if line.startswith('kube_lvs_operator_reconciles_total{result="written"}'):
                return int(float(line.split()[1]))
        raise AssertionError("no such metric")

    def end(self, how):
        self.process.send_signal(how)
        return self.process.wait(timeout=30)


def wait_for(what, probe, seconds=15):
    """Until probe() is truthy; returns it. An AssertionError inside counts as not yet."""
    deadline, last = time.monotonic() + seconds, None
    while True:
        try:
            last = probe()
            if last:
                return last
        except (AssertionError, OSError, StopIteration) as error:
            last = error
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not within {seconds} s, last: {last!r}")
        time.sleep(0.05)


def quiet(operator, seconds=1.2):
    """What `operator` has written when it wrote nothing for so long: counts of pools follow half a second late."""
    seen = [operator.written(), time.monotonic()]

    def is_quiet():
        now = operator.written()
        if now != seen[0]:
            seen[:] = [now, time.monotonic()]
        return time.monotonic() - seen[1] > seconds

    wait_for("an operator that writes nothing", is_quiet)
    return seen[0]


class Test:
    def __init__(self, api):
        self.api = api

    def get(self, path):
        status, body = self.api.request("GET", path)
        assert status == 200, f"GET {path}: {status} {body}"
        return body

    def make(self, path, body, status=None):
        code, made = self.api.request("POST", path, body)
        assert code == 201, f"POST {path}: {code} {made}"
        if status is not None:
            self.set_status(f"{path}/{body['metadata']['name']}", status)
        return made

    def patch(self, path, body):
        code, patched = self.api.request("PATCH", path, body, content_type="application/merge-patch+json")
        assert code == 200, f"PATCH {path}: {code} {patched}"
        return patched

    def set_status(self, path, status):
        return self.patch(path + "/status", {"status": status})

    def delete(self, path):
        code, body = self.api.request("DELETE", path)
        assert code == 200, f"DELETE {path}: {code} {body}"

    def service(self, name, **spec):
        spec = {"ports": [{"name": "http", "port": 80}],
                "backends": [{"name": "web", "serviceRef": {"name": "web"}}], **spec}
        return self.make(SERVICES, {"apiVersion": "kube-lvs.io/v1alpha1", "kind": "LVSService",
                                    "metadata": {"name": name}, "spec": spec})

    def status(self, name):
        return self.get(f"{SERVICES}/{name}")["status"]

    def condition(self, name, kind):
        found = next(c for c in self.status(name)["conditions"] if c["type"] == kind)
        return found["status"], found["reason"]

    def vip(self, name):
        addresses = self.status(name).get("addresses") or [{"value": ""}]
        return addresses[0]["value"]

    def expect(self, name, kind, status, reason, seconds=15):
        wait_for(f"{name} {kind} {status} {reason}",
                 lambda: self.condition(name, kind) == (status, reason) or
                 self.expect_failed(name, kind), seconds)

    def expect_failed(self, name, kind):
        raise AssertionError(json.dumps([c for c in self.status(name)["conditions"] if c["type"] == kind]))

    def endpoints(self, ready, not_ready=0):
        return [{"addresses": [f"10.244.0.{i + 1}"], "conditions": {"ready": i < ready}}
                for i in range(ready + not_ready)]

    # ---- what is there before

    def set_up(self):
        self.api.kubectl("apply", "--server-side", "-f", os.path.abspath("dist/install.yaml"))
        self.api.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=30s")
        deployment = self.get("/apis/apps/v1/namespaces/kube-lvs/deployments/kube-lvs-operator")
        args = deployment["spec"]["template"]["spec"]["containers"][0]["args"]
        self.operators_flags = [arg for arg in args if arg == "--create-default-group"]
        for name in ("shop", "edge"):
            self.make("/api/v1/namespaces", {"metadata": {"name": name, "labels": {"tier": name}}})
        for name, address in (("a", "172.30.0.1"), ("b", "172.30.0.2"), ("c", "172.30.0.3")):
            labels = {"director": "yes"} if name != "c" else {}
            self.make("/api/v1/nodes", {"metadata": {"name": name, "labels": labels}},
                      {"addresses": [{"type": "InternalIP", "address": address}],
                       "conditions": [{"type": "Ready", "status": "True"}]})
        self.make("/api/v1/namespaces/shop/services", {
            "metadata": {"name": "web"}, "spec": {"ports": [{"name": "http", "port": 80, "targetPort": 8080}]}})
        self.make("/apis/discovery.k8s.io/v1/namespaces/shop/endpointslices", {
            "metadata": {"name": "web-1", "labels": {
                "kubernetes.io/service-name": "web",
                "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io"}},
            "addressType": "IPv4", "ports": [{"name": "http", "port": 8080}],
            "endpoints": self.endpoints(2, 1)})
        self.make(f"{LVS}/lvsaddresspools", self.kind("LVSAddressPool", "edge", {"addresses": ["192.0.2.16/28"]}))
        # The operators' own rights.
        token = self.api.kubectl("create", "token", "kube-lvs-operator", "-n", "kube-lvs").stdout.strip()
        with open(self.api.kubeconfig) as f:
            config = json.load(f)
        config["users"][0]["user"]["token"] = token
        self.operators_kubeconfig = self.api.path("operators-kubeconfig")
        with open(self.operators_kubeconfig, "w") as f:
            json.dump(config, f)

    def operator(self, name):
        return Operator(self.api, name, self.operators_kubeconfig, self.operators_flags)

    @staticmethod
    def kind(kind, name, spec):
        return {"apiVersion": "kube-lvs.io/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec}

    def report(self, node, **status):
        path = f"{LVS}/lvsnodes"
        if self.api.request("GET", f"{path}/{node}")[0] == 404:
            self.make(path, {"apiVersion": "kube-lvs.io/v1alpha1", "kind": "LVSNode", "metadata": {"name": node}})
        self.set_status(f"{path}/{node}", {"capabilities": {"kernel": "6.1", "dataplanes": ["eBPF"]}, **status})

    # ---- the cases, in order

    def members(self, group):
        return [m["node"] for m in self.get(f"{LVS}/lvsdirectorgroups/{group}").get("status", {}).get("members", [])]

    def the_default_group_appears_and_a_user_changes_it(self):
        wait_for("the group of all nodes", lambda: self.members("default") == ["a", "b", "c"])
        mine = self.kind("LVSDirectorGroup", "default", {"nodeSelector": {"matchLabels": {"director": "yes"}}})
        path = self.api.path("group.json")
        with open(path, "w") as f:
            json.dump(mine, f)
        self.api.kubectl("apply", "--server-side", "-f", path)
        wait_for("its members", lambda: self.members("default") == ["a", "b"])
        # The file again, as at an upgrade: the group stays the user's.
        self.api.kubectl("apply", "--server-side", "-f", os.path.abspath("dist/install.yaml"))
        assert self.get(f"{LVS}/lvsdirectorgroups/default")["spec"]["nodeSelector"] == mine["spec"]["nodeSelector"]

    def group_gets_a_dataplane(self):
        group = f"{LVS}/lvsdirectorgroups/default"
        status = self.get(group)["status"]
        assert status["epoch"] == 2 and "dataplane" not in status, status
        self.report("a")
        wait_for("the dataplane", lambda: self.get(group)["status"].get("dataplane") == "eBPF")
        self.report("b")
        assert self.get(group)["status"]["epoch"] == 2

    def service_gets_a_vip_and_becomes_ready(self):
        self.service("web")
        vip = wait_for("a VIP", lambda: self.vip("web"))
        assert vip == "192.0.2.16", vip
        self.expect("web", "Accepted", "True", "Accepted")
        self.expect("web", "AddressesAssigned", "True", "Assigned")
        self.expect("web", "BackendsReady", "True", "QuorumMet")
        self.expect("web", "Programmed", "Unknown", "Pending")
        self.expect("web", "Announced", "False", "NoDirector")
        self.report("a", answersFor=[vip])
        self.expect("web", "Announced", "True", "Announced")
        self.expect("web", "Programmed", "Unknown", "Pending")
        version = self.get(f"{SERVICES}/web")["metadata"]["resourceVersion"]
        self.report("a", answersFor=[vip], resourceVersion=version)
        self.expect("web", "Ready", "True", "Ready")
        self.expect("web", "Redundant", "True", "Redundant")
        status = self.status("web")
        assert status["directors"] == [{"node": "a", "role": "Active"}, {"node": "b", "role": "Standby"}], status
        assert status["effective"] == {"method": "NAT", "sourceNAT": "Enabled", "dataplane": "eBPF",
                                       "fallbackUsed": False}, status
        row = self.api.kubectl("get", "lvs", "-n", "shop", "--no-headers").stdout.split()
        assert row[:8] == ["web", vip, "80/TCP", "NAT", "wrr", "2/3", "a", "True"], row
        events = self.api.kubectl("get", "events", "-n", "shop").stdout
        assert "AddressAssigned" in events, events

    def endpoints_are_counted(self):
        path = "/apis/discovery.k8s.io/v1/namespaces/shop/endpointslices/web-1"
        self.patch(path, {"endpoints": self.endpoints(0, 3)})
        self.expect("web", "BackendsReady", "False", "QuorumLost")
        self.expect("web", "Ready", "False", "QuorumLost")
        self.patch(path, {"endpoints": self.endpoints(3)})
        self.expect("web", "Ready", "True", "Ready")
        assert self.status("web")["summary"]["realServers"] == "3/3"

    def reports_of_directors_show(self):
        uid = self.get(f"{SERVICES}/web")["metadata"]["uid"]
        self.report("a", answersFor=[self.vip("web")], services=[
            {"uid": uid, "namespace": "shop", "name": "web", "generation": 1,
             "reason": "PrerequisiteMissing", "message": "no ip_vs"}])
        self.expect("web", "Programmed", "False", "PrerequisiteMissing")
        self.report("a", answersFor=[self.vip("web")], services=[])
        version = self.get(f"{SERVICES}/web")["metadata"]["resourceVersion"]
        self.report("a", answersFor=[self.vip("web")], resourceVersion=version)
        self.expect("web", "Ready", "True", "Ready")

    def what_is_wrong_says_so_and_harms_no_other(self):
        self.service("family", addresses=[{"type": "Pool", "ipFamily": "IPv6"}])
        self.service("static", backends=[{"name": "x", "static": [{"address": "10.9.0.1"}]}])
        self.service("pods", forwarding={"method": "DirectRouting"})
        self.service("pool", addresses=[{"type": "Pool", "poolName": "nowhere"}])
        self.service("group", directorGroupName="nowhere")
        self.service("port", ports=[{"name": "x", "port": 80, "targetPort": "nothing"}])
        self.service("taken", addresses=[{"type": "IP", "value": self.vip("web")}])
        self.service("shared", addresses=[{"type": "IP", "value": self.vip("web")}],
                     ports=[{"name": "http", "port": 81, "targetPort": 80}])
        self.expect("family", "AddressesAssigned", "False", "PoolExhausted")
        self.expect("static", "Accepted", "False", "BackendNotPermitted")
        self.expect("pods", "Accepted", "False", "UnsupportedByDataplane")
        self.expect("pool", "AddressesAssigned", "False", "PoolNotFound")
        self.expect("group", "Accepted", "False", "DirectorGroupNotFound")
        self.expect("port", "BackendsReady", "False", "PortNotFound")
        self.expect("taken", "AddressesAssigned", "False", "AddressConflict")
        self.expect("shared", "AddressesAssigned", "True", "Assigned")
        assert self.vip("taken") == "" and self.vip("shared") == self.vip("web")
        self.expect("web", "Ready", "True", "Ready")
        for name in ("family", "static", "pods", "pool", "group", "port", "taken", "shared"):
            self.delete(f"{SERVICES}/{name}")

    def pools_count_and_may_not_overlap(self):
        def pool(name):
            return self.get(f"{LVS}/lvsaddresspools/{name}")["status"]

        wait_for("the count", lambda: pool("edge").get("ipv4") == {"total": 16, "allocated": 1, "available": 15})
        assert pool("edge")["cidrs"] == ["192.0.2.16/28"], pool("edge")
        for name, addresses, reason in (("twice", "192.0.2.24/29", "OverlapsPool"),
                                        ("services", "10.96.3.0/24", "OverlapsCluster"),
                                        ("node", "172.30.0.1/32", "OverlapsCluster")):
            self.make(f"{LVS}/lvsaddresspools", self.kind("LVSAddressPool", name, {"addresses": [addresses]}))
            wait_for(f"{name} {reason}", lambda: pool(name)["conditions"][0]["reason"] == reason)
            assert pool(name)["conditions"][0]["status"] == "False" and not pool(name)["cidrs"]
            self.delete(f"{LVS}/lvsaddresspools/{name}")
        self.make(f"{LVS}/lvsaddresspools", self.kind("LVSAddressPool", "mine", {
            "addresses": ["198.51.100.0/30"], "namespaceSelector": {"matchLabels": {"tier": "edge"}}}))
        self.service("closed", addresses=[{"type": "Pool", "poolName": "mine"}])
        self.service("closed-ip", addresses=[{"type": "IP", "value": "198.51.100.1"}])
        for name in ("closed", "closed-ip"):
            self.expect(name, "AddressesAssigned", "False", "NotPermitted")
            assert self.vip(name) == ""
            self.delete(f"{SERVICES}/{name}")
        self.patch("/api/v1/namespaces/shop", {"metadata": {"labels": {"tier": "edge"}}})
        self.service("foreign", addresses=[{"type": "Pool", "poolName": "mine"}])
        self.expect("foreign", "AddressesAssigned", "True", "Assigned")
        self.patch("/api/v1/namespaces/shop", {"metadata": {"labels": {"tier": "shop"}}})
        self.expect("foreign", "AddressesAssigned", "True", "NotPermitted")
        assert self.vip("foreign") == "198.51.100.0"
        self.delete(f"{SERVICES}/foreign")

    def nothing_is_written_when_nothing_changes(self, operators):
        leader = next(o for o in operators if o.leads())
        before = quiet(leader), self.get(f"{SERVICES}/web")["metadata"]["resourceVersion"]
        self.patch("/apis/discovery.k8s.io/v1/namespaces/shop/endpointslices/web-1",
                   {"metadata": {"annotations": {"x": "y"}}})
        self.patch("/api/v1/nodes/a", {"metadata": {"annotations": {"x": "y"}}})
        after = quiet(leader), self.get(f"{SERVICES}/web")["metadata"]["resourceVersion"]
        assert before == after, (before, after)

    def a_killed_leader_is_followed_and_no_vip_is_lost_or_granted_twice(self, operators):
        leader = next(o for o in operators if o.leads())
        other = next(o for o in operators if o is not leader)
        self.make(f"{LVS}/lvsaddresspools", self.kind("LVSAddressPool", "many", {
            "addresses": ["203.0.113.0/26"], "priority": 5}))
        vip = self.vip("web")
        for i in range(20):
            self.service(f"s{i}")
            if i == 8:
                leader.end(signal.SIGKILL)
        began = time.monotonic()
        wait_for("another leader", other.leads, 40)
        took = time.monotonic() - began
        wait_for("all VIPs", lambda: all(self.vip(f"s{i}") for i in range(20)), 30)
        vips = [self.vip(f"s{i}") for i in range(20)]
        assert len(set(vips)) == 20 and all(v.startswith("203.0.113.") for v in vips), vips
        assert self.vip("web") == vip
        self.expect("web", "Ready", "True", "Ready")
        return f"followed after {took:.1f} s"

    def sigterm_hands_over_at_once(self, leader, fresh):
        wait_for("the fresh one runs", lambda: not fresh.leads())
        began = time.monotonic()
        assert leader.end(signal.SIGTERM) == 0
        wait_for("the fresh one leads", fresh.leads, 10)
        return f"followed after {time.monotonic() - began:.1f} s"

    def a_released_vip_rests(self):
        released = self.vip("s3")
        self.delete(f"{SERVICES}/s3")
        self.service("next")
        vip = wait_for("a VIP", lambda: self.vip("next"))
        assert vip != released, vip
        self.service("s3")  # the same name gets its own back
        assert wait_for("a VIP", lambda: self.vip("s3")) == released

    def deleted_kinds_come_back(self, leader):
        before = {s["metadata"]["name"]: s["status"]["addresses"] for s in self.get(SERVICES)["items"]}
        self.api.kubectl("delete", "crd", "lvsaddresspools.kube-lvs.io")
        self.expect("web", "AddressesAssigned", "True", "NotPermitted")
        self.api.kubectl("apply", "--server-side", "-f", os.path.abspath("crds/lvsaddresspools.yaml"))
        self.api.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=30s")
        self.make(f"{LVS}/lvsaddresspools", self.kind("LVSAddressPool", "edge", {"addresses": ["192.0.2.16/28"]}))
        self.expect("web", "AddressesAssigned", "True", "Assigned", 60)
        after = {s["metadata"]["name"]: s["status"]["addresses"] for s in self.get(SERVICES)["items"]}
        assert before == after, (before, after)
        assert leader.process.poll() is None

    def an_address_of_the_cluster_is_no_vip(self):
        for name, address in (("node", "172.30.0.1"), ("services", "10.96.3.4")):
            self.service(name, addresses=[{"type": "IP", "value": address}])
            self.expect(name, "AddressesAssigned", "False", "AddressConflict")
            assert self.vip(name) == ""
            self.delete(f"{SERVICES}/{name}")
        # A Node that joins with an address of a pool in use: that one is not granted, the others are.
        taken = next(f"192.0.2.{i}" for i in range(16, 32)
                     if f"192.0.2.{i}" not in [self.vip(s["metadata"]["name"]) for s in self.get(SERVICES)["items"]])
        self.make("/api/v1/nodes", {"metadata": {"name": "late"}},
                  {"addresses": [{"type": "InternalIP", "address": taken}]})
        wait_for("the pool without it", lambda: taken in next(
            c for c in self.get(f"{LVS}/lvsaddresspools/edge")["status"]["conditions"])["message"])
        self.service("late", addresses=[{"type": "Pool", "poolName": "edge"}])
        assert wait_for("a VIP", lambda: self.vip("late")) != taken
        self.delete(f"{SERVICES}/late")
        self.delete("/api/v1/nodes/late")

    def the_default_group_comes_back_when_there_is_no_group(self):
        groups = f"{LVS}/lvsdirectorgroups"
        self.make(groups, self.kind("LVSDirectorGroup", "mine", {}))
        self.delete(f"{groups}/default")
        wait_for("the members of mine", lambda: self.members("mine") == ["a", "b", "c"])
        assert self.api.request("GET", f"{groups}/default")[0] == 404
        self.delete(f"{groups}/mine")
        wait_for("the group of all nodes", lambda: self.members("default") == ["a", "b", "c"])


def audit_flags(directory):
    """The API server notes what the operators ask for."""
    policy = {"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "omitStages": ["RequestReceived", "ResponseStarted"],
              "rules": [{"level": "Metadata", "users": [OPERATOR]}, {"level": "None"}]}
    with open(f"{directory}/policy.json", "w") as f:
        json.dump(policy, f)
    return [f"--audit-policy-file={directory}/policy.json", f"--audit-log-path={directory}/audit.log"]


def the_rights_are_those_that_are_used(test, directory):
    used = set()
    with open(f"{directory}/audit.log") as f:
        for line in f:
            event = json.loads(line)
            about = event.get("objectRef", {})
            resource = "/".join(filter(None, [about.get("resource", ""), about.get("subresource", "")]))
            assert event["responseStatus"].get("code") != 403, f"forbidden: {event['verb']} {event['requestURI']}"
            used.add((about.get("apiGroup", ""), resource, event["verb"]))
    rbac = "/apis/rbac.authorization.k8s.io/v1"
    rules = test.get(f"{rbac}/clusterroles/kube-lvs-operator")["rules"]
    rules += test.get(f"{rbac}/namespaces/kube-lvs/roles/kube-lvs-operator")["rules"]
    granted = {(group, resource, verb) for rule in rules for group in rule["apiGroups"]
               for resource in rule["resources"] for verb in rule["verbs"]}
    assert granted - used <= RARE, f"granted and not used: {sorted(granted - used - RARE)}"
    return f"{len(granted)} rights"


def main():
    with tempfile.TemporaryDirectory() as audit, ApiServer(*audit_flags(audit)) as api:
        test, operators = Test(api), []

        def run(case, *args):
            began = time.monotonic()
            note = case(*args) or ""
            print(f"ok   {case.__name__} ({time.monotonic() - began:.1f} s) {note}", flush=True)

        try:
            test.set_up()
            operators = [test.operator(f"operator-{i}") for i in range(2)]
            run(test.the_default_group_appears_and_a_user_changes_it)
            run(test.group_gets_a_dataplane)
            run(test.service_gets_a_vip_and_becomes_ready)
            run(test.endpoints_are_counted)
            run(test.reports_of_directors_show)
            run(test.what_is_wrong_says_so_and_harms_no_other)
            run(test.pools_count_and_may_not_overlap)
            run(test.nothing_is_written_when_nothing_changes, operators)
            run(test.a_killed_leader_is_followed_and_no_vip_is_lost_or_granted_twice, operators)
            leader = next(o for o in operators if o.process.poll() is None)
            fresh = test.operator("operator-2")
            operators.append(fresh)
            run(test.sigterm_hands_over_at_once, leader, fresh)
            run(test.a_released_vip_rests)
            run(test.an_address_of_the_cluster_is_no_vip)
            run(test.deleted_kinds_come_back, fresh)
            run(test.the_default_group_comes_back_when_there_is_no_group)
            assert fresh.get("/healthz") == "ok\n"
            for operator in operators:
                if operator.process.poll() is None:
                    operator.end(signal.SIGTERM)  # ends its watches, so that they are noted
            run(the_rights_are_those_that_are_used, test, audit)
        except BaseException:
            for operator in operators:
                with open(operator.log) as f:
                    print(f"--- {operator.name}\n{f.read()[-6000:]}")
            raise
        finally:
            for operator in operators:
                if operator.process.poll() is None:
                    operator.process.kill()
                    operator.process.wait()


main()
