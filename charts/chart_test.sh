#!/bin/bash
# Runs chart_test.py, from Bazel or by hand.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
PYTHONDONTWRITEBYTECODE=1 exec python3 chart_test.py
