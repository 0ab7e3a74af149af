#!/bin/bash
# test.sh [--all [--within MINUTES]] [--yes] [STEP...]: installs what is missing, builds, and runs every test. The last line is
# "N passed, N failed"; the exit status is 0 only if none failed.
#
# Steps, in order (name some to run only those):
#   unit      logic, and components on fakes                     2 min (cold: 10)
#   kernel    this machine's kernel, kernels in small VMs, a real API server    5 min (cold: 25)
#   bare      the agent on a bench of bare network namespaces, tc and native XDP    4 min
#   cluster   operator and agents, installed by Helm, on a real Kubernetes cluster of namespaces    5 min
# With --all also, on the newer of the VMs' kernels, what has passed on the older; and
#   asan, tsan, clang    the unit tests again with sanitizers and with another compiler (cold: 15 min each)
# and with --within those of them that would begin later than MINUTES from the start are left out, which is said.
#
# Packages are installed without asking only with --yes or when CI is set. Built things are kept in
# ${KUBE_LVS_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/kube-lvs}, so a second run is fast.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")"
# shellcheck source=e2e/lib/steps.sh
. e2e/lib/steps.sh

steps=()
all=
within=
setup=()
[ -z "${CI:-}" ] || setup=(--yes)
while [ $# != 0 ]; do
  case $1 in
    --all) all=1 ;;
    --within)
      [[ ${2:-} =~ ^[0-9]+$ ]] || { echo "test.sh: --within wants a number of minutes" >&2 && exit 2; }
      within=$2
      shift
      ;;
    --yes) setup=(--yes) ;;
    unit | kernel | bare | cluster | clang | asan | tsan) steps+=("$1") ;;
    -h | --help) show_help "$0" ;;
    *)
      echo "test.sh: $1: see test.sh --help" >&2
      exit 2
      ;;
  esac
  shift
done
[ ${#steps[@]} != 0 ] || steps=(unit kernel bare cluster)
[ -z "$all" ] || steps+=(asan tsan clang)

wants() {
  local step
  for step in "${steps[@]}"; do [ "$step" != "$1" ] || return 0; done
  return 1
}

# Runs a Bazel test command and counts the targets of its closing report. A build that fails is a failed test, too.
bazel_tests() { # NAME FLAGS...
  local name=$1 log
  shift
  log=$KUBE_LVS_LOGS/$name.log
  bazel test "${BAZEL_FLAGS[@]}" --keep_going --test_summary=short "$@" 2>&1 | tee "$log" | grep -vE '^(INFO|Loading|Analyzing)' || true
  local passed failed
  passed=$(grep -cE '^//[^ ]+ .*PASSED' "$log" || true)
  failed=$(grep -cE '^//[^ ]+ .*(FAILED|TIMEOUT|NO STATUS|FLAKY|INCOMPLETE)' "$log" || true)
  if [ "$passed" = 0 ] && [ "$failed" = 0 ]; then failed=1; fi
  if [ "$failed" = 0 ] && grep -qE '^(ERROR:|FAILED: Build)' "$log"; then failed=1; fi
  count "$passed" "$failed"
}

# The scripts of e2e print "ok ..." or "FAILED: ..." a case.
script_tests() { # NAME COMMAND...
  local name=$1 log status=0
  shift
  log=$KUBE_LVS_LOGS/$name.log
  "$@" 2>&1 | tee "$log" || status=$?
  local passed failed
  passed=$(grep -c '^ok ' "$log" || true)
  failed=$(grep -c '^FAILED' "$log" || true)
  if [ "$status" != 0 ] && [ "$failed" = 0 ]; then failed=1; fi
  if [ "$passed" = 0 ] && [ "$failed" = 0 ]; then failed=1; fi
  count "$passed" "$failed"
}

as_root=()
[ "$(id -u)" = 0 ] || as_root=(--run_under="sudo -E --preserve-env=PATH")

step "packages" "1 s, or 3 min when many are missing" e2e/setup "${setup[@]}" test
if wants unit; then step unit "1 min, cold 10" bazel_tests unit --config=unit //...; fi
if wants kernel || wants cluster; then
  step "test cluster's programs" "1 s, or 8 min cold" e2e/cluster/build.sh
else
  step "test programs" "1 s, or 20 s cold" e2e/cluster/build.sh web kube-lvs-load
fi
if wants kernel; then
  step "kernels for VMs" "1 s, or 1 min cold" e2e/vm/kernels
  step kernel "3 min" bazel_tests kernel --test_tag_filters=kernel,-vm --local_test_jobs=1 "${as_root[@]}" //...
  # A pass counts for these kernels in this emulator only.
  guests=$(for version in 6.1 6.12; do e2e/vm/kernels --path "$version"; done; qemu-system-x86_64 --version | head -n 1)
  guests=${guests//$'\n'/ }
  older_only=
  [ -n "$all" ] || older_only=,-newer_kernel
  # Each guest keeps one core busy.
  step "kernels in VMs" "1 s, or 10 min when all of them changed" bazel_tests vm --test_env="KUBE_LVS_GUESTS=$guests" --test_tag_filters="vm$older_only" --local_test_jobs=2 "${as_root[@]}" //...
fi
if wants bare || wants cluster; then step "programs" "1 s" bazel build "${BAZEL_FLAGS[@]}" //operator:kube-lvs-operator //node-agent:kube-lvs-agent //cli:lvsadm //e2e/bare:all; fi
if wants bare; then step bare "4 min" script_tests bare e2e/bare/test; fi
if wants cluster; then step cluster "5 min" script_tests cluster e2e/run; fi
for more in asan tsan clang; do
  wants "$more" || continue
  if [ -n "$within" ] && [ $((SECONDS / 60)) -ge "$within" ]; then
    echo "== $more: left out, $within minutes have passed"
    REPORT+=("$(printf '%-54s %7s   left out, %d minutes have passed' "$more" - "$within")")
    continue
  fi
  flags=("--config=$more")
  [ "$more" != clang ] || flags+=(--config=unit)
  step "$more" "1 min, cold 10" bazel_tests "$more" "${flags[@]}" //...
done
summary
