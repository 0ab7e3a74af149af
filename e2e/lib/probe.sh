# Sourced by the probes of e2e/cases. A probe fails with its first command that fails; it may use what e2e/run --help names.
# shellcheck shell=bash

fail() {
  echo "$*" >&2
  exit 1
}

kube() { kubectl -n "$NAMESPACE" "$@"; }

vip() { kube get lvs "$1" -o 'jsonpath={.status.addresses[0].value}'; } # NAME

# shellcheck disable=SC2086 # CLIENT is a command of several words, or none
load() { $CLIENT "$LOAD" "$@"; }
# shellcheck disable=SC2086
get() { $CLIENT curl -sf --max-time 1 "http://$1/"; } # ADDRESS[:PORT]
# As get, but a first packet that is dropped does not wait for its repetition after a second.
# shellcheck disable=SC2086
get_quickly() { $CLIENT curl -sf --max-time 0.2 "http://$1/"; } # ADDRESS[:PORT]
# shellcheck disable=SC2086
silent() { ! $CLIENT curl -sf --max-time 0.3 "http://$1/"; } # ADDRESS[:PORT]

milliseconds() { echo $(($(date +%s%N) / 1000000)); }

# within MILLISECONDS WHAT CMD...: polls until CMD succeeds; fails with WHAT. Prints how long it took.
within() {
  local begun limit=$1 what=$2
  begun=$(milliseconds)
  shift 2
  until "$@" >/dev/null 2>&1; do
    [ $(($(milliseconds) - begun)) -lt "$limit" ] || fail "$what: not within $limit ms"
  done
  echo "  $what: $(($(milliseconds) - begun)) ms"
}

# shares REPORT EXPECTED...: each RESPONDER_PREFIX=SHARE answered its share of all requests, within 10 %; none failed.
shares() {
  local report=$1 whole=0 e
  shift
  for e in "$@"; do whole=$((whole + ${e#*=})); done
  jq -e '.failed == 0' >/dev/null <<<"$report" || fail "requests failed: $report"
  for e in "$@"; do
    jq -e --arg who "${e%=*}" --argjson wanted "${e#*=}" --argjson whole "$whole" \
      '([.responders | to_entries[] | select(.key | startswith($who)) | .value] | add // 0) / .total
       | . > $wanted / $whole - 0.1 and . < $wanted / $whole + 0.1' >/dev/null <<<"$report" ||
      fail "${e%=*} did not answer ${e#*=} of $whole: $(jq -c .responders <<<"$report")"
  done
  echo "  $(jq -c .responders <<<"$report")"
}

responders() { load -n "${2:-60}" -c 4 "$1" | jq -e ".failed == 0 and (.responders | length) == $3"; } # TARGET N HOW_MANY

# Programs by name on the nodes, ended by SIGKILL: sigkill PROGRAM [NODE...]
sigkill() {
  local program=$1 node killed=0
  shift
  [ $# != 0 ] || read -ra nodes <<<"$(kubectl get nodes -o 'jsonpath={.items[*].metadata.name}')"
  [ $# = 0 ] || nodes=("$@")
  for node in "${nodes[@]}"; do
    # shellcheck disable=SC2016,SC2086 # expanded on the node; NODE_EXEC is a command of several words
    if $NODE_EXEC "$node" bash -c 'n=1; for p in /proc/[0-9]*; do
        if [ "$(basename "$(readlink "$p/exe")")" = "$0" ]; then kill -KILL "${p#/proc/}" && n=0; fi; done; exit $n' "$program"; then
      killed=$((killed + 1))
    fi
  done
  [ "$killed" != 0 ] || fail "no $program runs on ${nodes[*]}"
  echo "  SIGKILL to $program on $killed nodes"
}

ready() { # KIND/NAME of namespace kube-lvs: rolled out
  kubectl -n kube-lvs rollout status "$1" --timeout=60s >/dev/null
}
