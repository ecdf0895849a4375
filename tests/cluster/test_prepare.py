"""The preparing command against a server that speaks AWS: from an empty account to what `ray up` needs, and back."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from cluster import account, prepare
from cluster.prepared import Values, read_values, values_file, write_values

ENOUGH = {"L-1216C47A": 32, "L-3819A6DF": 256, "L-DB2E81BA": 0, "L-7212CCBC": 0, "L-417A185B": 0}
LINE = ["--bucket", "my-results", "--address", "203.0.113.7", "--region", "us-east-1"]


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    return tmp_path


@pytest.fixture
def empty(empty_account, market, home):
    """An account with quotas and nothing else."""
    market.quotas |= ENOUGH
    yield empty_account
    s3 = empty_account.resource("s3")
    for bucket in s3.buckets.all():
        if bucket.name != "bucket":
            bucket.objects.delete()
            bucket.delete()


def stacks(aws):
    return [stack["StackName"] for stack in aws.client("cloudformation").describe_stacks()["Stacks"]]


def buckets(aws):
    return {bucket["Name"] for bucket in aws.client("s3").list_buckets()["Buckets"]} - {"bucket"}


@pytest.mark.slow
def test_from_an_empty_account_and_back(empty, home, capsys):
    prepare.main(LINE)
    assert stacks(empty) == ["pgpc"] and buckets(empty) == {"my-results"}
    closed = empty.client("s3").get_public_access_block(Bucket="my-results")["PublicAccessBlockConfiguration"]
    assert set(closed.values()) == {True}
    (group,) = empty.client("ec2").describe_security_groups(GroupNames=["pgpc"])["SecurityGroups"]
    (ssh,) = (rule for rule in group["IpPermissions"] if rule["IpRanges"])
    assert (ssh["FromPort"], ssh["IpRanges"]) == (22, [{"CidrIp": "203.0.113.7/32"}])
    token = home / ".ray" / "auth_token"
    assert (token.stat().st_mode & 0o777, token.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    # 256 vCPUs for spot: eight nodes of 8 and, of the rest, four of 48.
    assert read_values() == Values("us-east-1", "my-results", {"gpu_1": 8, "gpu_4": 4, "gpu_8": 0}, True)
    shown = capsys.readouterr().out
    assert "ssh from 203.0.113.7/32 alone" in shown and "Next: ray up cluster/gpu.yaml" in shown
    assert token.read_text() not in shown

    secret = token.read_text()
    prepare.main([*LINE[:2], "--address", "203.0.113.9", *LINE[4:], "--workers", "gpu_4=1"])
    (group,) = empty.client("ec2").describe_security_groups(GroupNames=["pgpc"])["SecurityGroups"]
    assert [rule["IpRanges"] for rule in group["IpPermissions"] if rule["IpRanges"]] == [[{"CidrIp": "203.0.113.9/32"}]]
    assert token.read_text() == secret
    assert read_values() == Values("us-east-1", "my-results", {"gpu_1": 8, "gpu_4": 1, "gpu_8": 0}, True)

    prepare.main(["--remove"])
    assert (stacks(empty), buckets(empty), values_file().exists()) == ([], set(), False)
    assert empty.client("ec2").describe_key_pairs()["KeyPairs"] == []


@pytest.mark.slow
def test_results_and_the_buckets_of_others_outlive_it(empty, capsys):
    prepare.main(LINE)
    empty.client("s3").put_object(Bucket="my-results", Key="pgpc/results/first/sweep.json", Body=b"{}")
    prepare.main(["--remove"])
    assert buckets(empty) == {"my-results"}
    assert "holds results and is left" in capsys.readouterr().out
    prepare.main(LINE)  # it is there: not ours to delete, were it empty or not
    empty.client("s3").delete_object(Bucket="my-results", Key="pgpc/results/first/sweep.json")
    prepare.main(["--remove"])
    assert buckets(empty) == {"my-results"}


def refused(capsys, *line):
    with pytest.raises(SystemExit) as ended:
        prepare.main(line)
    assert ended.value.code == 2
    return capsys.readouterr().err


@pytest.mark.slow
def test_nothing_is_made_where_no_gpu_would_start(empty, market, capsys):
    market.quotas |= {"L-3819A6DF": 0}
    assert "one type of GPU node must be able to start" in refused(capsys, *LINE)
    assert (stacks(empty), buckets(empty), read_values()) == ([], set(), None)


def test_what_the_command_line_gets_wrong(empty, capsys):
    assert "TYPE of gpu_1, gpu_4, gpu_8, but got 'gpu_2=1'" in refused(capsys, *LINE, "--workers", "gpu_2=1")
    assert "but got '203.0.0.0/16'" in refused(capsys, "--bucket", "b-1", "--address", "203.0.0.0/16")
    assert "such as 203.0.113.7" in refused(capsys, "--bucket", "b-1", "--address", "here")
    assert "A bucket's name must have" in refused(capsys, "--bucket", "My_Results", *LINE[2:])
    assert (stacks(empty), buckets(empty), read_values()) == ([], set(), None)


@pytest.mark.slow
def test_it_is_not_removed_below_a_running_head(empty, capsys):
    prepare.main(LINE)
    tags = [{"ResourceType": "instance", "Tags": [{"Key": "ray-cluster-name", "Value": "pgpc"}]}]
    empty.client("ec2").run_instances(ImageId="ami-12345678", MinCount=1, MaxCount=1, TagSpecifications=tags)
    assert "Run `ray down cluster/gpu.yaml` first" in refused(capsys, "--remove")
    assert stacks(empty) == ["pgpc"] and read_values() is not None


def test_without_credentials_one_sentence(empty, monkeypatch, capsys):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    assert "Unable to locate credentials" in refused(capsys, *LINE)


@pytest.fixture
def answering():
    """``answering(text)``: an address at which a server answers with a text."""
    servers = []

    def start(text):
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(200)
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *_):
                pass

        servers.append(HTTPServer(("127.0.0.1", 0), Handler))
        threading.Thread(target=servers[-1].serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{servers[-1].server_port}"

    yield start
    for server in servers:
        server.shutdown()


def test_the_callers_address_is_asked_for(answering, monkeypatch):
    monkeypatch.setattr(account, "CHECK_ADDRESS", answering(b"198.51.100.4\n"))
    assert account.own_address() == "198.51.100.4"
    monkeypatch.setattr(account, "CHECK_ADDRESS", answering(b"<html>log in to this hotel</html>"))
    with pytest.raises(ValueError, match="--address A.B.C.D"):
        account.own_address()


def test_a_token_that_is_there_is_kept_and_closed(tmp_path):
    path = tmp_path / ".ray" / "auth_token"
    path.parent.mkdir(mode=0o755)
    path.write_text("mine")
    path.chmod(0o644)
    assert not prepare.make_token(path)
    assert (path.read_text(), path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == ("mine", 0o600, 0o700)


def test_values_that_somebody_has_spoilt_are_refused(home):
    path = write_values(Values("us-east-1", "my-results", {"gpu_1": 1}))
    path.write_text(json.dumps({"region": "us-east-1", "bucket": "my-results", "max_workers": {"gpu_1": "many"}}))
    with pytest.raises(ValueError, match=r"must hold what the preparation writes .*prepare.py --bucket NAME"):
        read_values()
