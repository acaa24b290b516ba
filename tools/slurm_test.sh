#!/usr/bin/env bash
# Test in a Slurm cluster: one task a GPU, started by srun.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/slurm_job.sh"

usage() {
    cat >&2 <<TEXT
Usage: tools/slurm_test.sh PARTITION JOB_NAME CONFIG CHECKPOINT [flags of tools/test.py]

    GPUS=16 tools/slurm_test.sh gpu r50 configs/scene_qformer/scene-qformer_r50_8xb4-24e_nus-336.py work_dirs/r50/epoch_24.pth

$SLURM_VARIABLES
TEXT
    exit 2
}

if [[ $# -lt 4 ]]; then usage; fi
PARTITION=$1
JOB_NAME=$2
CONFIG=$3
CHECKPOINT=$4
shift 4
if [[ ! -f $CONFIG ]]; then echo "slurm_test.sh: there is no config $CONFIG" >&2; usage; fi
if [[ ! -e $CHECKPOINT ]]; then echo "slurm_test.sh: there is no checkpoint $CHECKPOINT" >&2; usage; fi

slurm_job tools/dist_test.sh "$PARTITION" "$JOB_NAME" tools/test.py "$CONFIG" "$CHECKPOINT" --launcher slurm "$@"
