#!/usr/bin/env bash
# A sweep on the nodes of a Slurm allocation, all of which train. In the project's root, with its environment active:
#
#   sbatch --nodes=2 --gpus-per-node=4 --cpus-per-task=32 --time=24:00:00 cluster/slurm.sh --storage /shared/results --name first ..
#
# What comes after slurm.sh are the arguments of sweeps/run_ablation.py; the folders of project, environment and results must
# be seen by all nodes, and so must your home, where the token is. Ten minutes before its time is up the sweep is asked to
# stop, so that it can be resumed by another job: .. cluster/slurm.sh --storage /shared/results --resume first
#SBATCH --job-name=pgpc
#SBATCH --ntasks-per-node=1
#SBATCH --signal=B:TERM@600
#SBATCH --output=pgpc-%j.log
set -euo pipefail
export RAY_AUTH_MODE=token RAY_USAGE_STATS_ENABLED=0
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}

fail() {
    echo "slurm.sh: error: $*" >&2
    exit 1
}

[ -n "${SLURM_JOB_ID:-}" ] || fail "this runs in an allocation of Slurm. Give it to sbatch, as its first lines say."
command -v ray > /dev/null || fail "the environment with the project must be active, but there is no command ray in it."
[ -f sweeps/run_ablation.py ] || fail "it must start in the project's root, but starts in $PWD."

# The token: others on these nodes could otherwise run code as you.
(umask 077; mkdir -p ~/.ray; [ -s ~/.ray/auth_token ] || ray get-auth-token --generate > /dev/null)
chmod 700 ~/.ray
chmod 600 ~/.ray/auth_token

# Several jobs may share a node: each has ports and a folder for sockets of its own.
head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
name=$(scontrol show node "$head" | sed -n 's/.*NodeAddr=\([^ ]*\).*/\1/p')  # where Slurm itself reaches it
address=$(getent ahostsv4 "$name" | awk 'NR == 1 { print $1 }') || fail "the node $name must have an IPv4 address here."
export PGPC_HEAD=$head PGPC_ADDRESS=$address:$((20000 + SLURM_JOB_ID % 5000)) PGPC_RAY=/tmp/ray-$SLURM_JOB_ID
export PGPC_CLIENTS=$((25000 + SLURM_JOB_ID % 5000))

# shellcheck disable=SC2016  # the nodes' own values
start='
ulimit -n 65536 2> /dev/null || true
if [ "$SLURMD_NODENAME" = "$PGPC_HEAD" ]; then
    exec ray start --head --node-ip-address="${PGPC_ADDRESS%:*}" --port="${PGPC_ADDRESS#*:}" --dashboard-host=127.0.0.1 \
        --dashboard-port=0 --ray-client-server-port="$PGPC_CLIENTS" \
        --num-cpus="$SLURM_CPUS_ON_NODE" --temp-dir="$PGPC_RAY" --block
fi
for _ in 1 2 3 4 5; do  # the head may be slower than this node
    ray start --address="$PGPC_ADDRESS" --num-cpus="$SLURM_CPUS_ON_NODE" --block && break
    sleep 10
done'
srun --overlap --ntasks="$SLURM_JOB_NUM_NODES" --ntasks-per-node=1 --cpus-per-task="${SLURM_CPUS_PER_TASK:-1}" \
    --kill-on-bad-exit=0 bash -c "$start" &
nodes=$!
trap 'kill "$nodes" 2> /dev/null || true; wait "$nodes" 2> /dev/null || true; rm -rf "$PGPC_RAY"' EXIT

# How many trials fit is counted once, so that all nodes must be there.
python - "$PGPC_ADDRESS" "$SLURM_JOB_NUM_NODES" << 'END' || fail "the nodes' Ray must come up within five minutes."
import sys
import time

import ray

address, wanted, end = sys.argv[1], int(sys.argv[2]), time.monotonic() + 300
while True:
    try:
        if not ray.is_initialized():
            ray.init(address, log_to_driver=False, logging_level="ERROR")
        if sum(node["Alive"] for node in ray.nodes()) >= wanted:
            break
    except Exception as error:  # Ray has many ways to say that nothing answers yet
        why = str(error)
    else:
        why = f"{len(ray.nodes())} of {wanted} nodes"
    if time.monotonic() > end:
        sys.exit(why)
    time.sleep(1)
END

python sweeps/run_ablation.py --address "$PGPC_ADDRESS" "$@" &
driver=$!
trap 'kill -TERM "$driver"' TERM  # it saves what runs, and says how it is resumed
code=0
wait "$driver" || code=$?
while kill -0 "$driver" 2> /dev/null; do  # the signal has ended the wait, but not yet the driver
    code=0
    wait "$driver" || code=$?
done
exit "$code"
