#!/bin/bash
# quickstart.sh [--yes] [--no-cluster] [--keep] [--context NAME]: shows kube-lvs at work on this machine, with real packets.
#
# First an LVS site of bare network namespaces, from files: two directors, three real servers, and 300 requests to a VIP of
# each forwarding method. Then a real Kubernetes cluster of namespaces: the chart, examples/web.yaml, and the same requests.
#
#   --yes           install missing Debian packages without asking
#   --no-cluster    only the first part: no Kubernetes is built or started
#   --keep          leave everything up, and say how to reach it
#   --context NAME  instead of making a cluster, use this one of your kubeconfig, which has kube-lvs installed
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")"
# shellcheck source=e2e/lib/steps.sh
. e2e/lib/steps.sh

setup=()
cluster=1
keep=
context=
while [ $# != 0 ]; do
  case $1 in
    --yes) setup=(--yes) ;;
    --no-cluster) cluster= ;;
    --keep) keep=1 ;;
    --context)
      [ $# -ge 2 ] || { echo "quickstart.sh: --context wants a NAME" >&2 && exit 2; }
      context=$2
      shift
      ;;
    -h | --help) show_help "$0" ;;
    *)
      echo "quickstart.sh: $1: see quickstart.sh --help" >&2
      exit 2
      ;;
  esac
  shift
done

export BENCH=kq CLUSTER=kq2
load=$KUBE_LVS_CACHE/bin/kube-lvs-load
as_root=()
[ "$(id -u)" = 0 ] || as_root=(sudo -E --preserve-env=PATH)

finish() {
  local status=$?
  trap - EXIT INT TERM
  if [ -z "$keep" ] || [ "$status" != 0 ]; then
    e2e/bare/down || true
    [ -z "$cluster" ] || [ -n "$context" ] || e2e/cluster/down || true
  fi
  end_steps "$status"
  exit "$status"
}
trap finish EXIT

# Each of these runs as a step, whose status is looked at: there `set -e` ends nothing, so they say `|| return` themselves.

# quietly NAME COMMAND...: its output goes to a log, and is shown if it fails.
quietly() {
  local log=$KUBE_LVS_LOGS/$1.log
  shift
  "$@" >"$log" 2>&1 || { tail -30 "$log" >&2 && return 1; }
}

build() { bazel build "${BAZEL_FLAGS[@]}" //operator:kube-lvs-operator //node-agent:kube-lvs-agent //cli:lvsadm //e2e/bare:all; }

answers() { # VIP: within 30 s
  local end=$((SECONDS + 30))
  until "${client[@]}" curl -sf --max-time 1 "http://$1/" >/dev/null; do
    [ "$SECONDS" -lt "$end" ] || { echo "VIP $1 never answered" >&2 && return 1; }
  done
}

bare_site() {
  XDP=on e2e/bare/up || return
  e2e/bare/agents start examples/bare || return
  client=(e2e/bare/exec client)
  for vip in 201 202 203; do answers 10.77.0.$vip || return; done
}

bare_rules() { e2e/bare/exec d1 bazel-bin/cli/lvsadm --bpf-dir /sys/fs/bpf/kube-lvs-$BENCH-d1 -Ln; }

draw() { # TITLE VIP:PORT MACHINES SWITCH CLIENT FLAGS...
  "${as_root[@]}" e2e/lib/spread --title "$1" --machines "$3" --switch "$4" --client "$5" --load "$load" "${@:6}" "$2"
}

bare_traffic() {
  local machines='d1=director,d2=director,r1=server,r2=server,r3=server'
  echo
  draw "NAT" 10.77.0.201:80 "$machines" $BENCH-lan $BENCH-client --replies director || return
  draw "DirectRouting" 10.77.0.202:80 "$machines" $BENCH-lan $BENCH-client --replies bypass --sees client || return
  draw "Tunnel" 10.77.0.203:80 "$machines" $BENCH-lan $BENCH-client --replies bypass --sees client
}

kube() { kubectl "${kubeflags[@]}" "$@"; }

use_cluster() {
  if [ -n "$context" ]; then
    kubeflags=(--context "$context")
    kube get lvspool >/dev/null || { echo "context $context has no kube-lvs: helm install it, or leave --context out" >&2 && return 1; }
    client=()
    return
  fi
  quietly images e2e/cluster/images.sh pause web || return
  quietly cluster e2e/cluster/up || return
  # shellcheck source=/dev/null
  . "${KUBE_LVS_STATE:-/var/tmp/kube-lvs-e2e}/$CLUSTER/env"
  client=(e2e/cluster/node-exec client)
}

install() {
  quietly install e2e/install || return
  sed "s/FROM-TO/$VIP_POOL/" <<'P' | kube apply -f - >/dev/null
apiVersion: kube-lvs.io/v1alpha1
kind: LVSAddressPool
metadata: {name: edge}
spec: {addresses: [FROM-TO]}
P
}

rules() { # NODE: by the lvsadm of its agent's image
  local namespace pod
  read -r namespace pod < <(kube get pods -A -l app.kubernetes.io/name=kube-lvs,app.kubernetes.io/component=agent \
    --field-selector "spec.nodeName=$1" -o jsonpath='{.items[0].metadata.namespace} {.items[0].metadata.name}{"\n"}') ||
    { echo "no pod of the agent runs on director $1" >&2 && return 1; }
  echo "the rules on $1:"
  kube -n "$namespace" exec "$pod" -- lvsadm -Ln
}

example() {
  kube apply -f examples/web.yaml || return
  kube wait --for=condition=Ready lvs --all --timeout=90s >/dev/null || return
  echo
  kube get lvs || return
  echo
  rules "$(kube get lvs -o jsonpath='{.items[0].status.directors[0].node}')" || return
  echo
  local name vip
  for name in $(kube get lvs -o jsonpath='{.items[*].metadata.name}'); do
    vip=$(kube get lvs "$name" -o jsonpath='{.status.addresses[0].value}'):$(kube get lvs "$name" -o jsonpath='{.spec.ports[0].port}')
    answers "$vip" || return
    if [ -n "$context" ]; then
      "$load" -n 300 "$vip" || return
    else
      draw "$name" "$vip" "n1=director,n2=director,n3=server,n4=server,n5=server" "$CLUSTER-rack" "$CLUSTER-client" || return
    fi
  done
}

kubeflags=()
step "packages" "1 s, or 2 min when many are missing" e2e/setup "${setup[@]}" "$([ -n "$cluster" ] && echo test || echo build)"
step "build kube-lvs" "1 s, or 6 min the first time" quietly build build
step "build the test server and client" "1 s, or 20 s the first time" quietly tools e2e/cluster/build.sh web kube-lvs-load
step "an LVS site of namespaces, from files" "5 s" bare_site
step "rules on director d1" "1 s" bare_rules
step "300 requests to a VIP of each method, native XDP" "3 s" bare_traffic
if [ -n "$cluster" ]; then
  [ -n "$context" ] || step "build Kubernetes and Helm" "1 s, or 8 min the first time" e2e/cluster/build.sh
  step "a Kubernetes cluster of namespaces" "20 s" use_cluster
  [ -n "$context" ] || step "helm install kube-lvs" "10 s" install
  step "kubectl apply -f examples/web.yaml" "10 s" example
fi

if [ -n "$keep" ]; then
  cat <<K

Everything is still up.
  the site of namespaces:   BENCH=$BENCH e2e/bare/exec client curl http://10.77.0.201/
                            BENCH=$BENCH e2e/bare/exec d1 bazel-bin/cli/lvsadm --bpf-dir /sys/fs/bpf/kube-lvs-$BENCH-d1 -Ln
  end it with               BENCH=$BENCH e2e/bare/down
K
  if [ -n "$cluster" ] && [ -z "$context" ]; then
    cat <<K
  the cluster:              . ${KUBE_LVS_STATE:-/var/tmp/kube-lvs-e2e}/$CLUSTER/env; kubectl get lvs
                            CLUSTER=$CLUSTER e2e/cluster/node-exec client curl http://VIP/
                            kubectl -n kube-lvs exec ds/kube-lvs-agent -- lvsadm -Ln
  end it with               CLUSTER=$CLUSTER e2e/cluster/down
K
  fi
fi
printf '\n%s\n' "$(printf '%s\n' "${REPORT[@]}")"
