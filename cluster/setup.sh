#!/usr/bin/env bash
# Makes a machine a node of the cluster; `ray up` runs it on the head, and the head on every worker. Twice is as good as once.
#
#   setup.sh RESULTS
#
# RESULTS is a folder that all machines see; or s3://BUCKET/NAME: then the head's /results is that folder, served to the
# workers by NFS, and kept in the bucket. The launcher sets RAY_HEAD_IP on the workers only.
set -euo pipefail
results=$1
project=$HOME/pgpc-code
exec > >(tee -a "$project/setup.log") 2>&1
PS4='+ $(date +%T) '
set -x

fail() {
    echo "setup.sh: error: $*" >&2
    exit 1
}

apt_install() {  # the package lists of a fresh machine are old, and its own updates may hold the lock
    sudo apt-get -qq -o DPkg::Lock::Timeout=300 update
    sudo DEBIAN_FRONTEND=noninteractive apt-get -qq -y -o DPkg::Lock::Timeout=300 install "$@"
}

# The token: without it nothing is started, and nobody else on this machine may read it.
[ -s ~/.ray/auth_token ] || fail "~/.ray/auth_token must hold the cluster's token. cluster/prepare.py makes it, or: ray get-auth-token --generate"
chmod 700 ~/.ray
chmod 600 ~/.ray/auth_token

# The project. The head takes what setup.cfg allows and notes the versions; the workers install exactly these.
exec 9> "$project/.setup.lock"
flock 9  # machines may share their home folder
if [ ! -x "$project/.venv/bin/pip" ]; then
    python3 -m venv --clear "$project/.venv" || { apt_install python3-venv; python3 -m venv --clear "$project/.venv"; }
fi
pip=("$project/.venv/bin/pip" --disable-pip-version-check --quiet)
versions=$project/cluster/constraints.txt
if [ -n "${RAY_HEAD_IP:-}" ]; then
    "${pip[@]}" install --constraint "$versions" --editable "$project[cluster]"
else
    "${pip[@]}" install --editable "$project[cluster]"
    "${pip[@]}" freeze --exclude-editable > "$versions.tmp"
    mv "$versions.tmp" "$versions"
fi
ln -sf "$project/cluster/save-results" "$project/.venv/bin/save-results"
flock --unlock 9
line="source $project/cluster/node.sh"
grep -qxF "$line" ~/.bashrc 2> /dev/null || echo "$line" >> ~/.bashrc

if mountpoint --quiet /opt/dlami/nvme; then
    sudo install -d -o "$(id -un)" /opt/dlami/nvme/pgpc
fi

# The results.
case $results in
s3://YOUR-BUCKET*) fail "the results need a bucket of yours in place of YOUR-BUCKET, which cluster/prepare.py puts there." ;;
s3://*)
    sudo install -d -o "$(id -un)" /results
    if [ -n "${RAY_HEAD_IP:-}" ]; then
        command -v mount.nfs4 || apt_install nfs-common
        mountpoint --quiet /results || sudo mount -t nfs4 -o noatime "$RAY_HEAD_IP:/results" /results
    else
        command -v exportfs || apt_install nfs-kernel-server
        metadata=http://169.254.169.254/latest
        imds=$(curl -sSf -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 60' $metadata/api/token)
        imds() { curl -sSf -H "X-aws-ec2-metadata-token: $imds" "$metadata/meta-data/$1"; }
        network=$(imds "network/interfaces/macs/$(imds mac)/vpc-ipv4-cidr-block")
        echo "/results $network(rw,no_subtree_check)" | sudo tee /etc/exports.d/pgpc.exports
        sudo exportfs -ra
        echo "$results" > "$project/.results-url"
        "$project/.venv/bin/python" "$project/cluster/keep_results.py" restore /results "$results"
        save="$project/.venv/bin/save-results"
        (crontab -l 2> /dev/null | grep -vF "$save" || true; echo "*/5 * * * * $save > $project/save.log 2>&1") | crontab -
    fi
    ;;
*)
    mkdir -p "$results" || fail "$results must be a folder that this machine can write. Edit setup_commands."
    mark=$project/cluster/.results-mark  # goes to the workers with the rest of cluster/
    if [ -n "${RAY_HEAD_IP:-}" ]; then
        cmp --silent "$mark" "$results/.results-mark" ||
            fail "$results must be one folder for all machines, but this one does not see what the head wrote there."
    else
        tee "$mark" < /proc/sys/kernel/random/uuid > "$results/.results-mark"
    fi
    ;;
esac
