#!/bin/bash
# Runs cel_test.py, from Bazel or by hand. Needs clusterbox and helm (see apiserver.py).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
PYTHONDONTWRITEBYTECODE=1 exec python3 cel_test.py
