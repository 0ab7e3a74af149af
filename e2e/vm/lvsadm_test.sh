#!/bin/bash
# lvsadm does and prints what ipvsadm does and prints, in a guest: lvsadm_test.sh KERNEL LVSADM.
# LVSADM_SEED repeats the random lines of a run.
set -euo pipefail
here=$TEST_SRCDIR/$TEST_WORKSPACE/e2e/vm
seed=${LVSADM_SEED:-$((RANDOM))}
echo "seed $seed"
export VM_TIMEOUT=$((${TEST_TIMEOUT:-900} - 20))
exec "$here/run" "$1" "exec bash ./lvsadm_guest.sh $seed 40" "$here/lvsadm_guest.sh" "$here/lvsadm_commands.txt" "$2"
