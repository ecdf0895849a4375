"""What the AWS account must have for the cluster, made and removed: a bucket, and the stack of account.yaml."""

from __future__ import annotations

import ipaddress
import urllib.request
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError, WaiterError

STACK = "pgpc"
"""Name of the stack, of the cluster and of its key pair."""
TEMPLATE = Path(__file__).with_name("account.yaml")
CHECK_ADDRESS = "https://checkip.amazonaws.com"
"""What answers with the address from which it was asked."""
_DEAD = ("ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "DELETE_FAILED", "REVIEW_IN_PROGRESS")
"""States of a stack that was never whole, or is no more: it can only be deleted."""
_SECONDS = {"Delay": 5, "MaxAttempts": 240}


def own_address() -> str:
    """Return the IPv4 address of this machine as AWS sees it.

    Raises:
        ValueError: It cannot be found out.
    """
    try:
        with urllib.request.urlopen(CHECK_ADDRESS, timeout=20) as answer:
            return str(ipaddress.IPv4Address(answer.read(100).decode().strip()))
    except (OSError, ValueError) as error:
        raise ValueError(
            f"{CHECK_ADDRESS} must say which IPv4 address you have, but did not ({error}). Name it: --address A.B.C.D"
        ) from None


def has_bucket(session: Any, bucket: str) -> bool:
    """Tell whether a bucket is there, as the caller's own or one that the caller may use.

    Args:
        session: The boto3 session, with a region.
        bucket: The name.

    Raises:
        ValueError: The name is taken by somebody else, or the caller may not use the bucket.
    """
    s3 = session.client("s3")
    try:
        s3.head_bucket(Bucket=bucket)
        return True
    except ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] != 404:
            raise ValueError(
                f"--bucket must name a bucket of yours, or one that is not there yet, but AWS refuses {bucket!r} "
                f"({error}). Names are unique in the world: choose another."
            ) from None
        return False


def make_bucket(session: Any, bucket: str) -> None:
    """Make a bucket that is closed to the public.

    Args:
        session: The boto3 session, with a region.
        bucket: The name.
    """
    s3 = session.client("s3")
    here = {"LocationConstraint": session.region_name}
    where = {} if session.region_name == "us-east-1" else {"CreateBucketConfiguration": here}
    s3.create_bucket(Bucket=bucket, **where)
    closed = ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets")
    s3.put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration=dict.fromkeys(closed, True))


def deploy(session: Any, *, bucket: str, address: str) -> str:
    """Make the stack, or bring it up to date, and return what was done: "made", "changed" or "up to date".

    Args:
        session: The boto3 session, with a region.
        bucket: The name of the bucket.
        address: The address from which the nodes can be reached, as a network such as 203.0.113.7/32.

    Raises:
        ValueError: AWS could not make it.
    """
    stacks = session.client("cloudformation")
    parameters = {"MyAddress": address, "Bucket": bucket}
    request = {
        "StackName": STACK,
        "TemplateBody": TEMPLATE.read_text(),
        "Parameters": [{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()],
        "Capabilities": ["CAPABILITY_NAMED_IAM"],
    }
    status = _status(stacks)
    if status in _DEAD:
        _delete(stacks)
        status = None
    if status is None:
        stacks.create_stack(**request)
        _wait(stacks, "stack_create_complete")
        return "made"
    try:
        stacks.update_stack(**request)
    except ClientError as error:
        if "No updates are to be performed" not in str(error):
            raise
        return "up to date"
    _wait(stacks, "stack_update_complete")
    return "changed"


def remove(session: Any, bucket: str | None) -> list[str]:
    """Remove the stack, the key pair and the bucket, and return what is left, as sentences.

    Args:
        session: The boto3 session, with a region.
        bucket: The name of a bucket that is removed if it is empty; None leaves all buckets alone.

    Raises:
        ValueError: Nodes of the cluster are there, or AWS could not remove the stack.
    """
    ec2 = session.client("ec2")
    if nodes := _nodes(ec2):
        raise ValueError(
            f"No node of the cluster must be left, but got {', '.join(nodes)} in {session.region_name}. "
            "Run `ray down cluster/gpu.yaml` first."
        )
    stacks = session.client("cloudformation")
    if _status(stacks) is not None:
        _delete(stacks)
    ec2.delete_key_pair(KeyName=STACK)  # AWS does not mind if there is none
    if bucket is None:
        return []
    try:
        session.client("s3").delete_bucket(Bucket=bucket)
    except ClientError as error:
        code = error.response["Error"]["Code"]
        if code == "NoSuchBucket":
            return []
        if code != "BucketNotEmpty":
            raise
        return [
            f"The bucket {bucket} holds results and is left; `aws s3 rb --force s3://{bucket}` deletes it with them."
        ]
    return []


def _nodes(ec2: Any) -> list[str]:
    """Return the ids of the instances of the cluster."""
    living = [
        {"Name": "tag:ray-cluster-name", "Values": [STACK]},
        {"Name": "instance-state-name", "Values": ["pending", "running", "stopping", "stopped"]},
    ]
    pages = ec2.get_paginator("describe_instances").paginate(Filters=living)
    return [node["InstanceId"] for page in pages for group in page["Reservations"] for node in group["Instances"]]


def _status(stacks: Any) -> str | None:
    """Return the state of the stack, or None if there is none."""
    try:
        (stack,) = stacks.describe_stacks(StackName=STACK)["Stacks"]
    except ClientError as error:
        if "does not exist" not in str(error):
            raise
        return None
    return str(stack["StackStatus"])


def _delete(stacks: Any) -> None:
    stacks.delete_stack(StackName=STACK)
    _wait(stacks, "stack_delete_complete")


def _wait(stacks: Any, state: str) -> None:
    try:
        stacks.get_waiter(state).wait(StackName=STACK, WaiterConfig=_SECONDS)
    except WaiterError as error:
        events = stacks.describe_stack_events(StackName=STACK)["StackEvents"]
        reasons = [e["ResourceStatusReason"] for e in events if e["ResourceStatus"].endswith("_FAILED")]
        why = reasons[-1] if reasons else str(error)  # the first that failed; the others were stopped for it
        raise ValueError(f"CloudFormation must bring the stack {STACK!r} to {state}, but stopped: {why}") from None
