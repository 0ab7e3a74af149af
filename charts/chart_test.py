"""The chart on a real API server: install, upgrade, uninstall, install again; who may do what; policies.

Pods do not run here (no controllers, no nodes): e2e does that. Needs clusterbox and helm (crds/apiserver.py).
"""

import json
import os
import shutil
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "../crds"))
from apiserver import ApiServer  # noqa: E402

GROUP = "/apis/kube-lvs.io/v1alpha1"
OPERATOR = "system:serviceaccount:kube-lvs:kube-lvs-operator"
AGENT = "system:serviceaccount:kube-lvs:kube-lvs-agent"
failures = []
checks = 0


def check(holds, what):
    global checks
    checks += 1
    if not holds:
        failures.append(what)


# (user, may, verb, group, resource, subresource, namespace, name)
ACCESS = [
    (OPERATOR, True, "patch", "kube-lvs.io", "lvsservices", "status", "shop", "web"),
    (OPERATOR, True, "patch", "kube-lvs.io", "lvsaddresspools", "status", "", "edge"),
    (OPERATOR, True, "patch", "kube-lvs.io", "lvsdirectorgroups", "status", "", "default"),
    (OPERATOR, True, "watch", "kube-lvs.io", "lvsnodes", "", "", ""),
    (OPERATOR, True, "create", "kube-lvs.io", "lvsdirectorgroups", "", "", "default"),
    (OPERATOR, True, "list", "networking.k8s.io", "servicecidrs", "", "", ""),
    (OPERATOR, True, "create", "coordination.k8s.io", "leases", "", "kube-lvs", ""),
    (OPERATOR, True, "update", "coordination.k8s.io", "leases", "", "kube-lvs", "kube-lvs-operator"),
    (OPERATOR, False, "patch", "kube-lvs.io", "lvsdirectorgroups", "", "", "default"),
    (OPERATOR, False, "delete", "kube-lvs.io", "lvsdirectorgroups", "", "", "default"),
    (OPERATOR, False, "patch", "kube-lvs.io", "lvsnodes", "status", "", "a"),
    (OPERATOR, False, "patch", "kube-lvs.io", "lvsaddresspools", "", "", "edge"),
    (OPERATOR, False, "create", "kube-lvs.io", "lvsservices", "", "shop", "web"),
    (OPERATOR, False, "patch", "kube-lvs.io", "lvsservices", "", "shop", "web"),
    (OPERATOR, False, "delete", "kube-lvs.io", "lvsservices", "", "shop", "web"),
    (OPERATOR, False, "create", "", "services", "", "shop", "web"),
    (OPERATOR, False, "patch", "", "services", "status", "shop", "web"),
    (OPERATOR, False, "update", "coordination.k8s.io", "leases", "", "kube-system", "kube-scheduler"),
    (OPERATOR, False, "get", "", "secrets", "", "kube-lvs", "kube-lvs-peer-key"),
    (OPERATOR, False, "list", "", "pods", "", "shop", ""),
    (AGENT, True, "watch", "kube-lvs.io", "lvsservices", "", "", ""),
    (AGENT, True, "watch", "discovery.k8s.io", "endpointslices", "", "", ""),
    (AGENT, True, "watch", "", "services", "", "", ""),
    (AGENT, True, "watch", "networking.k8s.io", "servicecidrs", "", "", ""),
    (AGENT, True, "patch", "kube-lvs.io", "lvsnodes", "status", "", "a"),
    (AGENT, True, "get", "apiextensions.k8s.io", "customresourcedefinitions", "", "", "lvsservices.kube-lvs.io"),
    (AGENT, False, "get", "apiextensions.k8s.io", "customresourcedefinitions", "", "", "others.example.com"),
    (AGENT, False, "delete", "kube-lvs.io", "lvsnodes", "", "", "a"),
    (AGENT, False, "update", "coordination.k8s.io", "leases", "", "kube-lvs", "kube-lvs-operator"),
    (AGENT, False, "create", "coordination.k8s.io", "leases", "", "kube-lvs", ""),
    (AGENT, False, "create", "", "events", "", "shop", ""),
    (AGENT, False, "list", "", "namespaces", "", "", ""),
    (AGENT, False, "patch", "kube-lvs.io", "lvsservices", "", "shop", "web"),
    (AGENT, False, "patch", "kube-lvs.io", "lvsservices", "status", "shop", "web"),
    (AGENT, False, "patch", "", "services", "", "shop", "web"),
    (AGENT, False, "get", "", "secrets", "", "kube-lvs", "kube-lvs-peer-key"),
    (AGENT, False, "get", "", "pods", "", "shop", "web"),
]


def check_access(api):
    for user, may, verb, group, resource, subresource, namespace, name in ACCESS:
        attributes = {"verb": verb, "group": group, "resource": resource, "subresource": subresource,
                      "namespace": namespace, "name": name}
        body = api.request("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", {
            "apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview",
            "spec": {"user": user, "resourceAttributes": attributes}})[1]
        check(body["status"]["allowed"] == may, f"{user} may {attributes}: {body['status']}")


def eventually(ask, holds, what):
    """Policies are in force a moment after they were made."""
    deadline = time.monotonic() + 20
    while True:
        answer = ask()
        if holds(answer):
            check(True, what)
            return
        if time.monotonic() > deadline:
            check(False, f"{what}: {answer}")
            return
        time.sleep(0.1)


def agent_token(api, node):
    body = api.request("GET", f"/api/v1/nodes/{node}")[1]
    bound = {"apiVersion": "v1", "kind": "Node", "name": node, "uid": body["metadata"]["uid"]}
    return api.request(
        "POST", "/api/v1/namespaces/kube-lvs/serviceaccounts/kube-lvs-agent/token",
        {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
         "spec": {"audiences": ["https://kubernetes.default.svc"], "boundObjectRef": bound}})[1]["status"]["token"]


def refused(text):
    return lambda answer: answer[0] in (403, 422) and text in str(answer[1])


def check_policies(api):
    for node in ("a", "b"):
        api.request("POST", "/api/v1/nodes", {"apiVersion": "v1", "kind": "Node", "metadata": {"name": node}})
    token = agent_token(api, "a")

    def report(node):
        item = {"apiVersion": "kube-lvs.io/v1alpha1", "kind": "LVSNode", "metadata": {"name": node}}
        return api.request("PATCH", f"{GROUP}/lvsnodes/{node}?fieldManager=agent", item, token=token,
                           content_type="application/apply-patch+yaml")

    def report_status(node):
        item = {"apiVersion": "kube-lvs.io/v1alpha1", "kind": "LVSNode", "metadata": {"name": node},
                "status": {"role": "Director"}}
        return api.request("PATCH", f"{GROUP}/lvsnodes/{node}/status?fieldManager=agent", item, token=token,
                           content_type="application/apply-patch+yaml")

    eventually(lambda: report("b"), refused("may write only LVSNode a"), "agent of a makes LVSNode b")
    check(report("a")[0] == 201, "agent of a makes LVSNode a")
    check(report_status("a")[0] == 200, "agent of a writes the status of LVSNode a")
    api.request("POST", f"{GROUP}/lvsnodes",
                {"apiVersion": "kube-lvs.io/v1alpha1", "kind": "LVSNode", "metadata": {"name": "b"}})
    check(refused("may write only LVSNode a")(report_status("b")), "agent of a writes the status of LVSNode b")

    for name, labels in (("shop", {"tier": "edge"}), ("lab", {})):
        api.request("POST", "/api/v1/namespaces",
                    {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})
    api.request("POST", f"{GROUP}/lvsaddresspools", {
        "apiVersion": "kube-lvs.io/v1alpha1", "kind": "LVSAddressPool", "metadata": {"name": "edge"},
        "spec": {"addresses": ["192.0.2.0/24"], "namespaceSelector": {"matchLabels": {"tier": "edge"}}}})
    status = {"apiVersion": "kube-lvs.io/v1alpha1", "kind": "LVSAddressPool", "metadata": {"name": "edge"},
              "status": {"cidrs": ["192.0.2.0/24"], "ipv4": {"total": 256, "allocated": 1, "available": 255}}}
    check(api.request("PATCH", f"{GROUP}/lvsaddresspools/edge/status?fieldManager=operator", status,
                      content_type="application/apply-patch+yaml")[0] == 200, "status of the pool")

    def service(namespace, address, dry_run="All"):
        spec = {"ports": [{"name": "http", "port": 80}], "backends": [{"name": "web", "serviceRef": {"name": "web"}}]}
        if address:
            spec["addresses"] = [address]
        query = f"?dryRun={dry_run}" if dry_run else ""
        return api.request("POST", f"{GROUP}/namespaces/{namespace}/lvsservices{query}", {
            "apiVersion": "kube-lvs.io/v1alpha1", "kind": "LVSService", "metadata": {"name": "web"}, "spec": spec})

    # Who may use which pool is the operator's to say (a condition), not admission's: a policy with the pool as its parameter
    # refuses every LVSService while an API server that has just started does not know the kind yet.
    pool, inside, outside = ({"type": "Pool", "poolName": "edge"}, {"type": "IP", "value": "192.0.2.10"},
                             {"type": "IP", "value": "198.51.100.10"})
    for namespace, address in (("lab", pool), ("lab", inside), ("shop", inside), ("lab", outside), ("lab", None)):
        answer = service(namespace, address)
        check(answer[0] == 201, f"{namespace} with {address}: {answer}")
    bound = api.request("GET", "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies")[1]["items"]
    for policy in bound:
        check("paramKind" not in policy["spec"], f"{policy['metadata']['name']} depends on a kind of ours")
        for rule in policy["spec"]["matchConstraints"]["resourceRules"]:
            check("lvsservices" not in rule["resources"], f"{policy['metadata']['name']} is asked about LVSServices")

    delete = f"{GROUP}/lvsaddresspools/edge?dryRun=All"
    eventually(lambda: api.request("DELETE", delete), refused("1 addresses of LVSAddressPool edge are in use"),
               "a pool in use is deleted")
    status["status"]["ipv4"] = {"total": 256, "allocated": 0, "available": 256}
    api.request("PATCH", f"{GROUP}/lvsaddresspools/edge/status?fieldManager=operator", status,
                content_type="application/apply-patch+yaml")
    check(api.request("DELETE", delete)[0] == 200, "a free pool is deleted")
    check(service("shop", inside, dry_run="")[0] == 201, "a user's LVSService")


def peer_key(api):
    return api.request("GET", "/api/v1/namespaces/kube-lvs/secrets/kube-lvs-peer-key")[1]["data"]["key"]


def crd_description(api):
    crd = api.request("GET", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/lvsnodes.kube-lvs.io")[1]
    return crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["description"]


def check_chart(api, chart):
    def helm(*args, check=True):
        return api.helm(*args, "--namespace", "kube-lvs", check=check)

    api.helm("lint", "--strict", chart)
    for bad in ("agent.privilged=true", "peerKey.source=Random", "operator.metricsPort=0", "operator.replicas=many"):
        done = helm("template", "kube-lvs", chart, "--set", bad, check=False)
        check(done.returncode != 0 and "schema" in done.stderr, f"value {bad} was taken: {done.stderr}")

    helm("install", "kube-lvs", chart, "--create-namespace")
    group = api.request("GET", f"{GROUP}/lvsdirectorgroups/default")[1]
    check(group.get("spec", {}).get("announcement") == {"type": "Layer2"}, f"group default: {group}")
    key = peer_key(api)
    check(len(key) >= 44, "the peer key is short")
    api.request("PATCH", f"{GROUP}/lvsdirectorgroups/default/status?fieldManager=operator", {
        "apiVersion": "kube-lvs.io/v1alpha1", "kind": "LVSDirectorGroup", "metadata": {"name": "default"},
        "status": {"epoch": 7}}, content_type="application/apply-patch+yaml")
    check_access(api)
    check_policies(api)

    # An upgrade changes the CRDs and the group's spec; it keeps the key and the group's status.
    crd_file = os.path.join(chart, "files/crds/lvsnodes.yaml")
    with open(crd_file) as f:
        text = f.read()
    old = "The report of one node's agent"
    check(old in text, "lvsnodes.yaml has no text to change")
    with open(crd_file, "w") as f:
        f.write(text.replace(old, "A newer report of one node's agent"))
    helm("upgrade", "kube-lvs", chart, "--set-json", 'defaultGroup.spec={"interfaces":["eth1"]}')
    check(crd_description(api).startswith("A newer report"), "upgrade left the CRD as it was")
    group = api.request("GET", f"{GROUP}/lvsdirectorgroups/default")[1]
    check(group["spec"].get("interfaces") == ["eth1"], f"upgrade left the group as it was: {group['spec']}")
    check(group["status"].get("epoch") == 7, "upgrade made a new group")
    check(peer_key(api) == key, "upgrade changed the peer key")
    helm("rollback", "kube-lvs", "1")
    check(api.request("GET", f"{GROUP}/lvsdirectorgroups/default")[0] == 200, "rollback deleted the group")

    # Uninstalling takes what is ours and leaves what is the users'.
    helm("uninstall", "kube-lvs")
    for path in ("/apis/apps/v1/namespaces/kube-lvs/daemonsets/kube-lvs-agent",
                 "/apis/rbac.authorization.k8s.io/v1/clusterroles/kube-lvs-operator",
                 "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies/kube-lvs-pool-in-use"):
        check(api.request("GET", path)[0] == 404, f"uninstall left {path}")
    for path in (f"{GROUP}/namespaces/shop/lvsservices/web", f"{GROUP}/lvsaddresspools/edge",
                 f"{GROUP}/lvsdirectorgroups/default"):
        check(api.request("GET", path)[0] == 200, f"uninstall deleted {path}")

    helm("install", "kube-lvs", chart)
    check(api.request("GET", f"{GROUP}/lvsdirectorgroups/default")[1]["status"].get("epoch") == 7,
          "the second install made a new group")
    helm("upgrade", "kube-lvs", chart, "--set", "agent.privileged=false")
    daemon_set = api.request("GET", "/apis/apps/v1/namespaces/kube-lvs/daemonsets/kube-lvs-agent")[1]
    context = daemon_set["spec"]["template"]["spec"]["containers"][0]["securityContext"]
    check(context.get("capabilities", {}).get("drop") == ["ALL"] and not context.get("privileged"),
          f"agent.privileged=false: {context}")
    dashboard = api.request("GET", "/api/v1/namespaces/kube-lvs/configmaps/kube-lvs-dashboard")[1]
    check(json.loads(dashboard["data"]["kube-lvs.json"])["uid"] == "kube-lvs", "the dashboard")


def check_install_yaml(api):
    """A new cluster takes dist/install.yaml at once; the group is the operator's to create (operator/api_test.py)."""
    path = os.path.join(HERE, "../dist/install.yaml")
    done = api.kubectl("apply", "--server-side", "-f", path, check=False)
    check(done.returncode == 0, f"install.yaml: the first apply: {done.stderr}")
    operator = api.request("GET", "/apis/apps/v1/namespaces/kube-lvs/deployments/kube-lvs-operator")[1]
    args = operator["spec"]["template"]["spec"]["containers"][0]["args"]
    check("--create-default-group" in args, f"install.yaml: nobody creates the group default: {args}")
    check(api.request("GET", "/apis/apps/v1/namespaces/kube-lvs/daemonsets/kube-lvs-agent")[0] == 200,
          "install.yaml: no agent")
    secret = api.request("GET", "/api/v1/namespaces/kube-lvs/secrets/kube-lvs-peer-key")[1]
    check(secret["type"] == "kubernetes.io/service-account-token" and "data" not in secret,
          "install.yaml holds a key that everybody knows")


def main():
    with ApiServer() as api:
        chart = api.path("chart")
        shutil.copytree(os.path.join(HERE, "kube-lvs"), chart)  # real files: Helm is noisy about Bazel's links
        check_chart(api, chart)
    with ApiServer() as api:
        check_install_yaml(api)
    for failure in failures:
        print("FAILED", failure, file=sys.stderr)
    print(f"{checks - len(failures)} checks passed, {len(failures)} failed")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
