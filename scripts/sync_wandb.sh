#!/usr/bin/env bash
# Uploads what W&B kept offline: every run below a folder (default: outputs) that was not uploaded before.
#
#   scripts/sync_wandb.sh [folder]
#
# Needs a key: WANDB_API_KEY, or `wandb login` once. Exit code 0: all is uploaded; 1: an upload failed; 2: no key,
# no folder or no wandb, and nothing was tried. Started again it goes on with what is missing.
set -euo pipefail

folder=${1:-outputs}
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
python=${PYTHON:-python}
if ! "$python" -c 'import kdistill.wandb_run, wandb' 2>/dev/null; then python=$here/.venv/bin/python; fi

if [ ! -d "$folder" ]; then
    echo "$folder: there is no such folder; give the one that holds your runs" >&2
    exit 2
fi

runs=() uploaded=0
while IFS= read -r -d '' file; do
    if [ -e "$file.synced" ]; then uploaded=$((uploaded + 1)); else runs+=("$(dirname "$file")"); fi
done < <(find "$folder" -path '*/wandb/offline-run-*/run-*.wandb' -print0 | sort -z)

if [ ${#runs[@]} -eq 0 ]; then
    echo "$folder: nothing to upload ($uploaded offline runs were uploaded before)"
    exit 0
fi
if ! "$python" -c 'import kdistill.wandb_run, wandb' 2>/dev/null; then
    echo "no Python with kdistill and wandb: pip install 'kdistill[wandb]', or give one in PYTHON" >&2
    exit 2
fi
if ! "$python" -c 'import sys; from kdistill.wandb_run import has_key; sys.exit(not has_key())'; then
    echo "$folder: ${#runs[@]} offline runs to upload, but there is no W&B key: set WANDB_API_KEY or run 'wandb login'" >&2
    exit 2
fi

export WANDB_DIR=${WANDB_DIR:-$folder} # the upload's own log
echo "$folder: uploading ${#runs[@]} offline runs ($uploaded were uploaded before)"
"$python" -m wandb sync --yes "${runs[@]}" || { echo "not all runs were uploaded; start this again to go on" >&2; exit 1; }
left=0
for run in "${runs[@]}"; do compgen -G "$run/run-*.wandb.synced" >/dev/null || { echo "not uploaded: $run" >&2; left=1; }; done
exit $left
