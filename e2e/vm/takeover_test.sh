#!/bin/bash
# Connections that outlive their director, in a guest: takeover_test.sh KERNEL AGENT.
set -euo pipefail
root=$TEST_SRCDIR/$TEST_WORKSPACE
export VM_TIMEOUT=$((${TEST_TIMEOUT:-900} - 20)) VM_MEMORY=1024
exec "$root/e2e/vm/run" "$1" 'exec bash ./takeover_guest.sh' \
  "$root"/e2e/vm/{takeover_guest,takeover_client,site}.sh "$(type -P socat)" "$2"
