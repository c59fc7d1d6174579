#!/usr/bin/env bash
# python -m kdistill.sync_wandb, with this clone's own Python where the shell's has no kdistill:
#
#   scripts/sync_wandb.sh [folder]
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
python=${PYTHON:-python}
if ! "$python" -c 'import kdistill, wandb' 2>/dev/null; then python=$here/.venv/bin/python; fi
exec "$python" -m kdistill.sync_wandb "$@"
