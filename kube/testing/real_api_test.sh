#!/bin/bash
# Runs real_api_test.py. Needs clusterbox and helm, which e2e/cluster/build.sh makes.
set -euo pipefail
PYTHONDONTWRITEBYTECODE=1 exec python3 "$(dirname "${BASH_SOURCE[0]}")/real_api_test.py"
