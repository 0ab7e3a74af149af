#!/bin/bash
# The manual is sound mdoc: man_page_lint_test.sh PAGE.
set -euo pipefail
command -v mandoc >/dev/null || { echo "mandoc is missing: apt-get install mandoc" >&2 && exit 1; }
exec mandoc -T lint -W warning "$1"
