# Sourced by the shells of a node: ours before the system's, the token everywhere, and the fast disk where there is one.
export PATH="$HOME/pgpc-code/.venv/bin:$PATH"
export RAY_AUTH_MODE=token
# `ray job stop` asks the driver to stop; this long, in seconds, it may take to leave a sweep that can be resumed.
export RAY_JOB_STOP_WAIT_TIME_S=300
if mountpoint --quiet /opt/dlami/nvme 2> /dev/null; then
    export PGPC_CACHE=/opt/dlami/nvme/pgpc
fi
