"""The custom resources, as a real API server sees them: schemas, rules, defaults and columns.

testdata/good/*.yaml must be accepted. Each object of testdata/bad/*.yaml must be refused with the
text of the comment above it, and every rule of the CRDs must be the reason at least once. Then an
object's defaults, a status of each kind, and what `kubectl get` prints. examples/ must be accepted.
"""

import glob
import json
import os
import re
import sys

from apiserver import ApiServer

HERE = os.path.dirname(os.path.abspath(__file__))
GROUP = "/apis/kube-lvs.io/v1alpha1"
PLURAL = {"LVSService": "namespaces/default/lvsservices", "LVSAddressPool": "lvsaddresspools",
          "LVSDirectorGroup": "lvsdirectorgroups", "LVSNode": "lvsnodes"}
failures = []
checks = 0


def check(holds, what):
    global checks
    checks += 1
    if not holds:
        failures.append(what)


def data(name):
    with open(os.path.join(HERE, "testdata", name)) as f:
        return f.read()


def objects(api, path):
    """[(comment above it or "", object)] of one YAML file."""
    with open(path) as f:
        documents = re.split(r"^---\n", f.read(), flags=re.M)
    text = api.kubectl("create", "--dry-run=client", "--validate=false", "-o", "json", "-f", path).stdout
    found = []
    while text.strip():  # kubectl prints the objects one after the other
        item, end = json.JSONDecoder().raw_decode(text)
        found.append(item)
        text = text[end:].lstrip()
    if len(found) != len(documents):
        raise SystemExit(f"{path}: {len(documents)} documents, {len(found)} objects")
    comments = [d.split("\n", 1)[0][2:] if d.startswith("# ") else "" for d in documents]
    return list(zip(comments, found))


def table(text):
    """The rows of what kubectl get prints; a cell may be empty."""
    header, *lines = text.splitlines()
    starts = [m.start() for m in re.finditer(r"\S+", header)] + [None]
    return [{header[a:b].strip(): line[a:b].strip() for a, b in zip(starts, starts[1:])}
            for line in lines]


def create(api, item, dry_run):
    query = "?fieldValidation=Strict" + ("&dryRun=All" if dry_run else "")
    return api.request("POST", f"{GROUP}/{PLURAL[item['kind']]}{query}", item)


def check_schema(where, schema, expected_messages):
    """Every field says what it is, and every list and string has a limit."""
    for rule in schema.get("x-kubernetes-validations", []):
        expected_messages.add(rule["message"])
    kind = schema.get("type")
    if kind == "array":
        check("maxItems" in schema, f"{where}: a list without maxItems")
        check("x-kubernetes-list-type" in schema, f"{where}: a list without x-kubernetes-list-type")
        check_schema(where + "[]", schema["items"], expected_messages)
    elif kind == "string":
        check("maxLength" in schema or "enum" in schema or schema.get("format") == "date-time",
              f"{where}: a string without maxLength or enum")
    elif kind == "integer":
        check("minimum" in schema, f"{where}: a number without minimum")
    for name, child in schema.get("properties", {}).items():
        if where.count(".") == 0 and name in ("apiVersion", "kind", "metadata"):
            continue
        check("description" in child or where.endswith("[]") or "conditions" in where,
              f"{where}.{name}: no description")
        check_schema(f"{where}.{name}", child, expected_messages)


def run(api):
    crds = sorted(glob.glob(os.path.join(HERE, "*.yaml")))
    api.kubectl("apply", "--server-side", *[a for path in crds for a in ("-f", path)])
    names = [os.path.basename(path)[:-len(".yaml")] + ".kube-lvs.io" for path in crds]
    api.kubectl("wait", "--for=condition=Established", "--timeout=30s",
                *["crd/" + name for name in names])
    messages = set()
    for name in names:
        crd = api.request("GET", f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{name}")[1]
        for condition in crd["status"]["conditions"]:
            check(condition["status"] == "True", f"{name}: {condition}")
        for version in crd["spec"]["versions"]:
            check_schema(crd["spec"]["names"]["kind"], version["schema"]["openAPIV3Schema"], messages)

    for path in sorted(glob.glob(os.path.join(HERE, "../examples/**/*.yaml"), recursive=True)):
        done = api.kubectl("create", "--dry-run=server", "-f", path, check=False)
        check(done.returncode == 0, f"{path}: {done.stderr}")
    check(os.path.exists(os.path.join(HERE, "../examples/web.yaml")), "no examples")

    for path in sorted(glob.glob(os.path.join(HERE, "testdata/good/*.yaml"))):
        for _, item in objects(api, path):
            status, body = create(api, item, dry_run=False)
            check(status == 201, f"good {item['kind']} {item['metadata']['name']} refused: {body}")

    unseen = set(messages)
    for path in sorted(glob.glob(os.path.join(HERE, "testdata/bad/*.yaml"))):
        for expected, item in objects(api, path):
            what = f"bad {item['kind']} {item['metadata']['name']}"
            if not expected:
                raise SystemExit(f"{path}: {what} lacks its comment")
            status, body = create(api, item, dry_run=True)
            text = body.get("message", "")
            check(status in (400, 422), f"{what} was not refused: {status}")
            check(expected in text, f"{what}: expected: {expected}\n  got: {text}")
            unseen.discard(expected)
    immutable = "directorGroupName cannot be changed: make a new LVSService"
    unseen.discard(immutable)
    status, body = api.request("PATCH", f"{GROUP}/namespaces/default/lvsservices/smallest",
                               {"spec": {"directorGroupName": "other"}},
                               content_type="application/merge-patch+json")
    check(status == 422 and immutable in body["message"], f"immutable field: {status} {body}")
    for message in sorted(unseen):
        check(False, f"no bad object shows the rule: {message}")

    smallest = api.request("GET", f"{GROUP}/namespaces/default/lvsservices/smallest")[1]
    expected = json.loads(data("smallest_defaulted.json"))
    check(smallest["spec"] == expected, f"defaults: {json.dumps(smallest['spec'])}")
    waiting = [(c["type"], c["status"], c["reason"], c["message"])
               for c in smallest["status"]["conditions"]]
    check(waiting == [(t, "Unknown", "Pending", "waiting for kube-lvs-operator") for t in (
        "Accepted", "AddressesAssigned", "BackendsReady", "Programmed", "Announced", "Redundant",
        "Ready")], f"conditions: {waiting}")

    for where, status_value in json.loads(data("status.json")).items():
        kind = next(k for k, plural in PLURAL.items() if where.rsplit("/", 1)[0] == plural)
        item = {"apiVersion": "kube-lvs.io/v1alpha1", "kind": kind,
                "metadata": {"name": where.rsplit("/", 1)[1]}, "status": status_value}
        status, body = api.request(
            "PATCH", f"{GROUP}/{where}/status?fieldManager=test&fieldValidation=Strict", item,
            content_type="application/apply-patch+yaml")
        check(status == 200, f"status of {where}: {status} {body}")
        if status == 200:
            check({k: v for k, v in body["status"].items() if k != "conditions"} == status_value,
                  f"status of {where} came back as {body['status']}")

    sections = re.split(r"^\$ kubectl (.*)\n", data("columns.txt"), flags=re.M)[1:]
    for command, expected in zip(sections[::2], sections[1::2]):
        printed = api.kubectl(*command.split()).stdout
        check(expected.split("\n")[0].split() == printed.split("\n")[0].split(), f"kubectl {command}: {printed}")
        wanted, got = table(expected), table(printed)
        for row in got:
            row["AGE"] = "AGE"
        got = [row for row in got if row["NAME"] in {w["NAME"] for w in wanted}]
        check(got == wanted, f"kubectl {command}:\n{printed}")
    named = api.kubectl("get", "kube-lvs", "-o", "name").stdout.split()
    check(len({n.split("/")[0] for n in named}) == 4, f"category kube-lvs: {named}")


def main():
    with ApiServer() as api:
        run(api)
    for failure in failures:
        print("FAILED", failure, file=sys.stderr)
    print(f"{checks - len(failures)} checks passed, {len(failures)} failed")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
