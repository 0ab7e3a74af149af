#!/bin/bash
# Runs api_test.py, from Bazel or by hand (after bazel build //operator:kube-lvs-operator).
# Needs clusterbox and helm (see crds/apiserver.py).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=crds exec python3 operator/api_test.py
