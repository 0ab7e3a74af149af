#!/bin/bash
# Makes what is made from crds/ and the chart: the chart's copies of the CRDs, and dist/install.yaml.
#   charts/render.sh           writes them
#   charts/render.sh --check   changes nothing; fails with the difference if they are not up to date
# Helm: the one of e2e/cluster/build.sh (~/.cache/kube-lvs/bin), whose version the file was made with.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
home=${HOME:-$(getent passwd "$(id -u)" | cut -d: -f6)}
helm=${KUBE_LVS_CACHE:-${XDG_CACHE_HOME:-$home/.cache}/kube-lvs}/bin/helm
[ -x "$helm" ] || { echo "render.sh: no $helm: e2e/cluster/build.sh helm" >&2; exit 1; }

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp -rL "$root/charts/kube-lvs" "$work/chart"  # a copy: helm is noisy about Bazel's links
rm -rf "$work/chart/files/crds"
mkdir "$work/chart/files/crds"
cp -L "$root"/crds/*.yaml "$work/chart/files/crds/"

# kubectl looks up every kind before it sends anything, so no group can be in the file: the operator creates it.
# ServiceAccountToken: a random key in a rendered file would be a key that everybody knows.
HOME=$work "$helm" template kube-lvs "$work/chart" --namespace kube-lvs --no-hooks \
  --set defaultGroup.create=false --set 'operator.extraArgs={--create-default-group}' \
  --set peerKey.source=ServiceAccountToken >"$work/rendered.yaml"
{
  cat <<'HEAD'
# kube-lvs, made from charts/kube-lvs by charts/render.sh: do not edit.
#
#   kubectl apply --server-side -f dist/install.yaml
#
# Its operator creates the director group "default", of all nodes, whenever there is no group. Groups of
# yours are left as they are.
---
apiVersion: v1
kind: Namespace
metadata:
  name: kube-lvs
  labels:
    pod-security.kubernetes.io/enforce: privileged  # agents use the host's network and kernel
HEAD
  grep -v -e '^# Source: ' -e 'app.kubernetes.io/managed-by: Helm' "$work/rendered.yaml"
} >"$work/install.yaml"

if [ "${1:-}" = --check ]; then
  diff -ru "$root/charts/kube-lvs/files/crds" "$work/chart/files/crds" &&
    diff -u "$root/dist/install.yaml" "$work/install.yaml" && exit 0
  echo "render.sh: not up to date: run charts/render.sh and commit what it writes" >&2
  exit 1
fi
rm -rf "$root/charts/kube-lvs/files/crds"
cp -r "$work/chart/files/crds" "$root/charts/kube-lvs/files/crds"
mkdir -p "$root/dist"
cp "$work/install.yaml" "$root/dist/install.yaml"
