# Sourced by slurm_train.sh and slurm_test.sh: what they check, and how both ask for a job.

readonly SLURM_VARIABLES='From the environment:
    GPUS=8             processes in all
    GPUS_PER_NODE=8    of them on each machine
    CPUS_PER_TASK=5    cores a process
    SRUN_ARGS=         more flags of srun, split at spaces
    MASTER_PORT=29500  a free port of the first machine
    PYTHON=.venv/bin/python, or else python'

# slurm_job WITHOUT_SLURM PARTITION JOB_NAME TOOL [arguments of the tool]: one task a GPU, in the place of this shell.
slurm_job() {
    local script root python number gpus=${GPUS:-8} per_node=${GPUS_PER_NODE:-8} without=$1 partition=$2 job_name=$3 tool=$4
    shift 4
    script=$(basename "$0")
    for number in "$gpus" "$per_node"; do
        if [[ ! $number =~ ^[1-9][0-9]*$ ]]; then
            echo "$script: GPUS and GPUS_PER_NODE must be numbers from 1 on, got '$number'" >&2
            usage
        fi
    done
    if (( gpus < per_node )); then per_node=$gpus; fi
    if (( gpus % per_node )); then
        echo "$script: GPUS=$gpus is no multiple of GPUS_PER_NODE=$per_node" >&2
        exit 2
    fi
    command -v srun >/dev/null || { echo "$script: there is no srun here; without Slurm: $without" >&2; exit 2; }
    root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
    python=${PYTHON:-$([[ -x $root/.venv/bin/python ]] && echo "$root/.venv/bin/python" || echo python)}
    local more=()
    read -r -a more <<<"${SRUN_ARGS:-}"

    # A process that dies takes the others with it: they would wait for it.
    exec srun --partition="$partition" \
        --job-name="$job_name" \
        --gres=gpu:"$per_node" \
        --ntasks="$gpus" \
        --ntasks-per-node="$per_node" \
        --cpus-per-task="${CPUS_PER_TASK:-5}" \
        --kill-on-bad-exit=1 \
        ${more[@]+"${more[@]}"} \
        "$python" -u "$root/$tool" "$@"
}
