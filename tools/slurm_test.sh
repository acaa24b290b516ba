#!/usr/bin/env bash
# Test in a Slurm cluster: one task a GPU, started by srun.
set -euo pipefail

usage() {
    cat >&2 <<'TEXT'
Usage: tools/slurm_test.sh PARTITION JOB_NAME CONFIG CHECKPOINT [flags of tools/test.py]

    GPUS=16 tools/slurm_test.sh gpu r50 configs/scene_qformer/scene-qformer_r50_8xb4-24e_nus-336.py work_dirs/r50/epoch_24.pth

From the environment:
    GPUS=8             processes in all
    GPUS_PER_NODE=8    of them on each machine
    CPUS_PER_TASK=5    cores a process
    SRUN_ARGS=         more flags of srun, split at spaces
    MASTER_PORT=29500  a free port of the first machine
    PYTHON=.venv/bin/python, or else python
TEXT
    exit 2
}

if [[ $# -lt 4 ]]; then usage; fi
PARTITION=$1
JOB_NAME=$2
CONFIG=$3
CHECKPOINT=$4
shift 4
GPUS=${GPUS:-8}
GPUS_PER_NODE=${GPUS_PER_NODE:-8}
if [[ ! -f $CONFIG ]]; then echo "slurm_test.sh: there is no config $CONFIG" >&2; usage; fi
if [[ ! -e $CHECKPOINT ]]; then echo "slurm_test.sh: there is no checkpoint $CHECKPOINT" >&2; usage; fi
for number in "$GPUS" "$GPUS_PER_NODE"; do
    if [[ ! $number =~ ^[1-9][0-9]*$ ]]; then
        echo "slurm_test.sh: GPUS and GPUS_PER_NODE must be numbers from 1 on, got '$number'" >&2
        usage
    fi
done
if (( GPUS < GPUS_PER_NODE )); then GPUS_PER_NODE=$GPUS; fi
if (( GPUS % GPUS_PER_NODE )); then
    echo "slurm_test.sh: GPUS=$GPUS is no multiple of GPUS_PER_NODE=$GPUS_PER_NODE" >&2
    exit 2
fi
command -v srun >/dev/null || { echo "slurm_test.sh: there is no srun here; without Slurm: tools/dist_test.sh" >&2; exit 2; }
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
PYTHON=${PYTHON:-$([[ -x $ROOT/.venv/bin/python ]] && echo "$ROOT/.venv/bin/python" || echo python)}
read -r -a MORE <<<"${SRUN_ARGS:-}"

# A process that dies takes the others with it: they would wait for it.
exec srun --partition="$PARTITION" \
    --job-name="$JOB_NAME" \
    --gres=gpu:"$GPUS_PER_NODE" \
    --ntasks="$GPUS" \
    --ntasks-per-node="$GPUS_PER_NODE" \
    --cpus-per-task="${CPUS_PER_TASK:-5}" \
    --kill-on-bad-exit=1 \
    ${MORE[@]+"${MORE[@]}"} \
    "$PYTHON" -u "$ROOT/tools/test.py" "$CONFIG" "$CHECKPOINT" --launcher slurm "$@"
