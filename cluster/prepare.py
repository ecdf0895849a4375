"""Prepare an AWS account and this machine for ``ray up cluster/gpu.yaml``, or take that back.

    python cluster/prepare.py --bucket NAME [--region REGION] [--workers TYPE=N ...]
    python cluster/prepare.py --remove

The same command again brings everything up to date: after your address has changed, say, or AWS has raised a quota.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import ipaddress
import os
import secrets
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a file, it only has its own folder there

LAUNCHER = Path(__file__).with_name("gpu.yaml")
_EXTRA = 'The cluster on AWS takes the extra "cluster": pip install -e ".[cluster]" in the project\'s root.'


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command; what a user can mend ends with one message and status 2."""
    arguments = _parse(argv)
    try:
        importlib.metadata.distribution("pgpc")  # `ray` finds cluster/ by it
        import boto3
        from botocore.exceptions import BotoCoreError, ClientError
    except ImportError:  # includes that a distribution is not there
        sys.exit(f"error: {_EXTRA}")
    try:
        session = boto3.Session(region_name=_region(arguments, boto3.Session().region_name))
        (_remove if arguments.remove else _prepare)(session, arguments)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except (BotoCoreError, ClientError) as error:  # no credentials, no network, or a right that is not there
        print(f"error: AWS must answer and allow it, but: {error}", file=sys.stderr)
        sys.exit(2)


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="prepare.py", description=(__doc__ or "").partition("\n")[0])
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument(
        "--bucket",
        metavar="NAME",
        help="bucket of S3 for data and results; made, closed to the public, if there is none",
    )
    what.add_argument(
        "--remove",
        action="store_true",
        help="remove what the preparation has made, the bucket only if it is empty; first: ray down cluster/gpu.yaml",
    )
    parser.add_argument("--region", help="region of AWS (default: the one of your AWS configuration)")
    parser.add_argument(
        "--address",
        metavar="A.B.C.D",
        help="the only address that may log in to the nodes, or a small network (default: yours, as AWS sees it)",
    )
    parser.add_argument(
        "--workers",
        action="append",
        default=[],
        metavar="TYPE=N",
        help="at most N nodes of a type of gpu.yaml, such as gpu_4=2 (default: what gpu.yaml says)",
    )
    return parser.parse_args(argv)


def _region(arguments: argparse.Namespace, configured: str | None) -> str:
    """Return the region of the command line, of the preparation that is taken back, or of the AWS configuration."""
    from cluster.prepared import read_values

    earlier = read_values() if arguments.remove else None
    region = arguments.region or (earlier.region if earlier else configured)
    if region is None:
        raise ValueError(
            "A region of AWS must be named, but neither you nor your AWS configuration does. Add --region."
        )
    return str(region)


def _prepare(session: Any, arguments: argparse.Namespace) -> None:
    """Do what must be done before ``ray up``; whatever can be refused is, before anything is made."""
    from cluster import account, quotas
    from cluster.prepared import Values, read_values, write_values

    config = yaml.safe_load(LAUNCHER.read_text())
    wanted = _wanted(config, arguments.workers)
    Values(session.region_name, arguments.bucket, wanted)
    caller = session.client("sts").get_caller_identity()
    network = _network(arguments.address or account.own_address())
    print(f"AWS account {caller['Account']}, region {session.region_name}; ssh from {network} alone")
    verdicts = quotas.judge(session, config, wanted)
    for verdict in verdicts:
        print(verdict)
    head, *workers = verdicts
    if not head.nodes or not any(verdict.nodes for verdict in workers):
        raise ValueError("The head and one type of GPU node must be able to start, which the lines above deny.")
    there, earlier = account.has_bucket(session, arguments.bucket), read_values()

    print("CloudFormation stack: some minutes the first time ..", flush=True)
    print(f"CloudFormation stack: {account.deploy(session, bucket=arguments.bucket, address=network)}")
    token = Path.home() / ".ray" / "auth_token"
    print(f"token {token}: {'made' if make_token(token) else 'there'}")
    if not there:
        account.make_bucket(session, arguments.bucket)
    print(f"bucket {arguments.bucket}: {'there' if there else 'made'}")
    made = not there or (earlier is not None and earlier.made_bucket and earlier.bucket == arguments.bucket)
    most = {verdict.name: verdict.nodes for verdict in workers}
    print(f"values: {write_values(Values(session.region_name, arguments.bucket, most, made))}")
    print("Next: ray up cluster/gpu.yaml. The head costs from then to `ray down cluster/gpu.yaml`.")


def _remove(session: Any, _: argparse.Namespace) -> None:
    """Take the preparation back."""
    from cluster import account
    from cluster.prepared import read_values, values_file

    values = read_values()
    left = account.remove(session, values.bucket if values and values.made_bucket else None)
    if values and not values.made_bucket:
        left.append(f"The bucket {values.bucket} was there before and is left.")
    (Path.home() / ".ssh" / f"{account.STACK}.pem").unlink(missing_ok=True)
    values_file().unlink(missing_ok=True)
    print(f"Removed from {session.region_name}: stack and key pair. The token stays: Ray uses it on this machine, too.")
    print(*left, sep="\n", end="\n" if left else "")


def _wanted(config: Mapping[str, Any], workers: Sequence[str]) -> dict[str, int]:
    """Return for each type that trains how many nodes of it are wanted.

    Raises:
        ValueError: There is no such type, or it is no number.
    """
    kinds = config["available_node_types"]
    wanted = {name: kind["max_workers"] for name, kind in kinds.items() if name != config["head_node_type"]}
    for text in workers:
        name, _, number = text.partition("=")
        if name not in wanted or not number.isdecimal():
            raise ValueError(f"--workers takes TYPE=N with a TYPE of {', '.join(wanted)}, but got {text!r}.")
        wanted[name] = int(number)
    return wanted


def _network(address: str) -> str:
    """Return an address as a network, which account.yaml takes if it is small.

    Raises:
        ValueError: It is no IPv4 address, or a network of more than 256.
    """
    try:
        network = ipaddress.IPv4Network(address)
    except ValueError as error:
        raise ValueError(f"--address takes your own IPv4 address, such as 203.0.113.7, but got {error}.") from None
    if network.prefixlen < 24 or network.network_address.is_unspecified:
        raise ValueError(f"--address takes your own address, or a network of at most 256, but got {address!r}.")
    return str(network)


def make_token(path: Path) -> bool:
    """Make the token that every node and client of the cluster must show, and return whether there was none.

    The file and its folder are closed to others, also where they were there before.

    Args:
        path: The path of the token.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.parent.chmod(0o700)
    if path.exists() and path.stat().st_size:
        path.chmod(0o600)
        return False
    path.unlink(missing_ok=True)
    with open(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as file:
        file.write(secrets.token_hex(32))  # as `ray get-auth-token --generate`
    return True


if __name__ == "__main__":
    main()
