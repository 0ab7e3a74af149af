#!/bin/bash
# The agent with the IPVS dataplane, from the files of examples/bare, in a guest: agent_test.sh KERNEL AGENT.
set -euo pipefail
root=$TEST_SRCDIR/$TEST_WORKSPACE
cp -rL "$root/examples/bare" "$TEST_TMPDIR/site"
export VM_TIMEOUT=$((${TEST_TIMEOUT:-900} - 20)) VM_MEMORY=1024
exec "$root/e2e/vm/run" "$1" 'exec bash ./agent_guest.sh' "$root"/e2e/vm/{agent_guest,site}.sh "$2" "$TEST_TMPDIR/site"
