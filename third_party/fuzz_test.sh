#!/bin/bash
# Runs a fuzzer for a while: fuzz_test.sh FUZZER SECONDS CORPUS_FILE...
set -euo pipefail
fuzzer=$1 seconds=$2
shift 2
mkdir "$TEST_TMPDIR/corpus"
for file; do cp -L "$file" "$TEST_TMPDIR/corpus/"; done
exec "$fuzzer" -max_total_time="$seconds" -timeout=30 -max_len=4096 -print_final_stats=1 \
  -artifact_prefix="${TEST_UNDECLARED_OUTPUTS_DIR:-$TEST_TMPDIR}/" "$TEST_TMPDIR/corpus"
