#!/bin/bash
# Runs a test binary in a guest, as a Bazel test: vm_test.sh KERNEL BINARY [ARGUMENT...].
# What the binary printed is the test's log; a missing QEMU or kernel is a failure, never a skip.
set -euo pipefail
here=$TEST_SRCDIR/$TEST_WORKSPACE/e2e/vm
kernel=$1 binary=$2
shift 2
# Within Bazel's own limit, so that the guest's console is still printed.
export VM_TIMEOUT=${VM_TIMEOUT:-$((${TEST_TIMEOUT:-300} - 10))}
echo "in a guest with kernel $kernel: ${binary##*/} $*"
printf -v arguments ' %q' "$@"
[ $# -gt 0 ] || arguments=
filter=
if [ -n "${TESTBRIDGE_TEST_ONLY:-}" ]; then printf -v filter ' --gtest_filter=%q' "$TESTBRIDGE_TEST_ONLY"; fi
exec "$here/run" "$kernel" "exec ./${binary##*/}$arguments$filter" "$binary"
