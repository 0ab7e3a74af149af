# Sourced by test.sh and quickstart.sh: steps with their times, counts, and a summary.
# shellcheck shell=bash
export KUBE_LVS_CACHE=${KUBE_LVS_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/kube-lvs}
# kubectl, also that of root, leaves the home directory alone.
export KUBECACHEDIR=$KUBE_LVS_CACHE/kubectl
KUBE_LVS_LOGS=$(mktemp -d "${TMPDIR:-/tmp}/kube-lvs-logs.XXXXXX")
# Bazel keeps results of unchanged sources here, for every checkout.
# shellcheck disable=SC2034
BAZEL_FLAGS=(--disk_cache="$KUBE_LVS_CACHE/bazel" --noshow_progress --color=no --curses=no)

# Logs are kept for who has to find out why something failed.
end_steps() { # STATUS
  [ "$1" != 0 ] && [ "$1" -lt 128 ] || rm -rf "$KUBE_LVS_LOGS"
}
trap 'end_steps $?' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

PASSED=0
FAILED=0
REPORT=()
STARTED=$SECONDS

show_help() { # SCRIPT: its leading comment
  awk 'NR == 1 { next } /^#/ { sub(/^# ?/, ""); print; next } { exit }' "$1"
  exit 0
}

count() { # PASSED FAILED
  PASSED=$((PASSED + $1))
  FAILED=$((FAILED + $2))
  COUNTED="$1 passed, $2 failed"
}

# step NAME EXPECTED_TIME COMMAND...: runs it and shows how long it took. A command that fails without having counted
# anything is fatal: what follows would only fail for the same reason.
step() {
  local name=$1 expected=$2 begun=$SECONDS status=0
  shift 2
  COUNTED=
  printf '\n== %s (expected: %s)\n' "$name" "$expected"
  "$@" || status=$?
  local seconds=$((SECONDS - begun))
  printf '== %s: %d s%s\n' "$name" "$seconds" "${COUNTED:+, $COUNTED}"
  local result=${COUNTED:-finished}
  [ "$status" = 0 ] || [ -n "$COUNTED" ] || result=FAILED
  REPORT+=("$(printf '%-54s %5d s   %s' "$name" "$seconds" "$result")")
  if [ "$status" != 0 ] && [ -z "$COUNTED" ]; then
    count 0 1
    summary
  fi
}

summary() {
  printf '\n%s\n' '-- summary'
  printf '%s\n' "${REPORT[@]}"
  local logs=
  [ "$FAILED" = 0 ] || logs="   logs: $KUBE_LVS_LOGS"
  printf '%-54s %5d s%s\n' total $((SECONDS - STARTED)) "$logs"
  printf '%d passed, %d failed\n' "$PASSED" "$FAILED"
  [ "$FAILED" = 0 ] || exit 1
  exit 0
}
