"""rayjob.yaml: what KubeRay requires of a RayJob, and what must not be open.

The whole manifest has been checked against the schemas (the CRDs) of KubeRay 1.5.1, 1.6.2 and 1.7.0; what these
require, and the checks that the operator adds, stand here by hand.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

FOLDER = Path(__file__).parents[2] / "cluster"
ROOT = FOLDER.parent
CLUSTER = {"rayVersion", "authOptions", "headGroupSpec", "workerGroupSpecs"}
WORKERS = {"groupName", "replicas", "minReplicas", "maxReplicas", "rayStartParams", "template"}


@pytest.fixture
def job():
    return yaml.safe_load((FOLDER / "rayjob.yaml").read_text())


def pods(job):
    cluster = job["spec"]["rayClusterSpec"]
    return [group["template"]["spec"] for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"])]


def test_it_has_what_kuberay_requires_and_nothing_that_it_does_not_know(job):
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    spec = job["spec"]
    assert set(spec) == {"entrypoint", "shutdownAfterJobFinishes", "ttlSecondsAfterFinished", "rayClusterSpec"}
    assert spec["shutdownAfterJobFinishes"] is True and spec["ttlSecondsAfterFinished"] >= 0
    cluster = spec["rayClusterSpec"]
    assert set(cluster) == CLUSTER and set(cluster["headGroupSpec"]) == {"rayStartParams", "template"}
    (workers,) = cluster["workerGroupSpecs"]
    assert set(workers) == WORKERS
    assert workers["replicas"] == workers["minReplicas"] == workers["maxReplicas"]
    for group in (cluster["headGroupSpec"], workers):
        assert all(isinstance(value, str) for value in group["rayStartParams"].values())
        assert re.fullmatch(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", group["template"]["spec"]["containers"][0]["name"])


def test_its_ray_is_the_one_that_is_installed(job):
    (version,) = re.findall(r"ray\[\S+\]==(\S+)", (ROOT / "setup.cfg").read_text())
    assert job["spec"]["rayClusterSpec"]["rayVersion"] == version
    assert f"FROM rayproject/ray:{version}-py3" in (FOLDER / "Dockerfile").read_text()


def test_nobody_gets_in_without_the_token_and_no_pod_has_more_rights_than_it_needs(job):
    assert job["spec"]["rayClusterSpec"]["authOptions"] == {"mode": "token"}
    for pod in pods(job):
        assert pod["automountServiceAccountToken"] is False
        assert pod["securityContext"]["runAsNonRoot"] and pod["securityContext"]["seccompProfile"]
        assert not {"hostNetwork", "hostPID", "serviceAccountName"} & set(pod)
        (container,) = pod["containers"]
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
        }
        assert container["resources"]["requests"] == container["resources"]["limits"]
        assert {volume["name"] for volume in pod["volumes"]} == {mount["name"] for mount in container["volumeMounts"]}


def test_the_head_trains_nothing_and_the_entrypoint_is_in_the_image(job):
    head = job["spec"]["rayClusterSpec"]["headGroupSpec"]
    assert head["rayStartParams"] == {"num-cpus": "0", "num-gpus": "0"}
    script = job["spec"]["entrypoint"].split()[1]
    image = (FOLDER / "Dockerfile").read_text()
    copied = re.findall(r"^COPY --chown=\S+ (\w+) (\S+)$", image, re.MULTILINE)
    assert any(script.startswith(f"{target}/") and (ROOT / source).is_dir() for source, target in copied)
    place = script.removeprefix("/home/ray/pgpc-code/")
    assert (ROOT / place).is_file()
