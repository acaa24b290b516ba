#!/usr/bin/env bash
# Train in a Slurm cluster: one task a GPU, started by srun.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/slurm_job.sh"

usage() {
    cat >&2 <<TEXT
Usage: tools/slurm_train.sh PARTITION JOB_NAME CONFIG WORK_DIR [flags of tools/train.py]

    GPUS=16 tools/slurm_train.sh gpu r50 configs/scene_qformer/scene-qformer_r50_8xb4-24e_nus-336.py work_dirs/r50 --resume

$SLURM_VARIABLES
TEXT
    exit 2
}

if [[ $# -lt 4 ]]; then usage; fi
PARTITION=$1
JOB_NAME=$2
CONFIG=$3
WORK_DIR=$4
shift 4
if [[ ! -f $CONFIG ]]; then echo "slurm_train.sh: there is no config $CONFIG" >&2; usage; fi

slurm_job tools/dist_train.sh "$PARTITION" "$JOB_NAME" tools/train.py "$CONFIG" --work-dir "$WORK_DIR" --launcher slurm "$@"
