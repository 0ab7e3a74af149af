#!/bin/bash
# What e2e/vm/run promises: output, status, files, and what a dead guest looks like.
set -euo pipefail
run=$(dirname "$0")/run
failed=0

expect() {  # NAME WANTED_STATUS WANTED_TEXT COMMAND...
  local name=$1 status=$2 text=$3 got=0 output
  shift 3
  output=$("$@" 2>&1) || got=$?
  if [ "$got" != "$status" ] || [[ $output != *"$text"* ]]; then
    echo "FAILED: $name: status $got (wanted $status), output (wanted '$text'):" && echo "$output"
    failed=1
  fi
}

echo 'the content' >"$TEST_TMPDIR/a file"
expect 'output and status come back' 7 'the content' "$run" 6.1 'cat "a file"; exit 7' "$TEST_TMPDIR/a file"
expect 'a dead kernel is 125, with its console' 125 'sysrq' "$run" 6.1 'echo c >/proc/sysrq-trigger; sleep 9'
expect 'a guest that hangs is 124' 124 'took longer than 8 s' env VM_TIMEOUT=8 "$run" 6.1 'sleep 999'
expect 'an unknown kernel is a failure' 125 'no kernel 5.4' "$run" 5.4 true
expect 'a kernel that was not fetched is a failure' 125 'run e2e/vm/kernels' \
  env KUBE_LVS_CACHE="$TEST_TMPDIR/none" "$run" 6.1 true
expect 'a missing file is a failure' 125 'no file /none' "$run" 6.1 true /none
mkdir "$TEST_TMPDIR/bin"
for tool in dirname getent id cut; do ln -s "$(command -v $tool)" "$TEST_TMPDIR/bin/$tool"; done
expect 'a missing QEMU is a failure' 125 'apt-get install qemu-system-x86' \
  env PATH="$TEST_TMPDIR/bin" /bin/bash "$run" 6.1 true
left=$(find "$TEST_TMPDIR" -name 'kube-lvs-vm.*')
[ -z "$left" ] || { echo "FAILED: left behind: $left"; failed=1; }
exit "$failed"
