"""gke.sh: what it asks of gcloud and kubectl, and the JobSet it gives them."""

from typing import Any

import pytest
import yaml

IMAGE = "us-docker.pkg.dev/my-project/dna/dnabert-jax:0.1.0"
PLACE = ("--project", "my-project", "--location", "us-west4", "--cluster", "my-cluster")
START = (
    *PLACE, "--accelerator", "tpu-v5-lite-podslice", "--topology", "16x16", "--image", IMAGE,
    "--run", "gs://my-bucket/runs/hg38-k6", "--data", "gs://my-bucket/data/hg38-k6",
)  # fmt: skip


def test_start_replaces_the_jobset(cloud: Any) -> None:
    out = cloud.succeeds("gke.sh", "start", "dnabert6", *START)
    _, credentials, delete, apply = cloud.calls
    assert credentials == [
        *("gcloud", "container", "clusters", "get-credentials", "my-cluster"),
        *("--location=us-west4", "--project=my-project", "--quiet"),
    ]
    assert delete[:4] == ["kubectl", "delete", "jobset", "dnabert6"]
    assert {"--ignore-not-found", "--cascade=foreground", "--namespace=default"} <= set(delete)
    assert apply[:2] == ["kubectl", "apply"]
    assert "gs://my-bucket/runs/hg38-k6" in out


def jobset(cloud: Any, *arguments: str) -> Any:
    cloud.succeeds("gke.sh", "start", "dnabert6", *START, *arguments)
    return yaml.safe_load(cloud.files["jobset.yaml"])


def test_the_jobset_runs_one_process_a_node_and_stops_it_with_grace(cloud: Any) -> None:
    manifest = jobset(cloud, "--slices", "2", "--spot")
    assert manifest["metadata"]["name"] == "dnabert6"
    (slices,) = manifest["spec"]["replicatedJobs"]
    job = slices["template"]["spec"]
    pod = job["template"]["spec"]
    (container,) = pod["containers"]
    # 16 x 16 chips, four a node.
    assert (slices["replicas"], job["parallelism"], job["completions"]) == (2, 64, 64)
    assert container["resources"]["limits"] == container["resources"]["requests"] == {"google.com/tpu": 4}
    assert pod["nodeSelector"] == {
        "cloud.google.com/gke-tpu-accelerator": "tpu-v5-lite-podslice",
        "cloud.google.com/gke-tpu-topology": "16x16",
        "cloud.google.com/gke-spot": "true",
    }
    assert pod["terminationGracePeriodSeconds"] >= 30
    assert (container["image"], container["command"][:2]) == (IMAGE, ["bash", "-c"])
    (bucket,) = [volume["csi"] for volume in pod["volumes"] if volume["name"] == "bucket"]
    assert bucket["volumeAttributes"]["bucketName"] == "my-bucket"
    assert job["template"]["metadata"]["annotations"]["gke-gcsfuse/volumes"] == "true"


def test_the_jobset_starts_all_processes_again_but_not_for_bad_input(cloud: Any) -> None:
    spec = jobset(cloud)["spec"]
    (slices,) = spec["replicatedJobs"]
    job = slices["template"]["spec"]
    assert spec["failurePolicy"]["maxRestarts"] > 0
    assert (job["backoffLimit"], job["template"]["spec"]["restartPolicy"]) == (0, "Never")
    (rule,) = spec["failurePolicy"]["rules"]
    assert (rule["action"], rule["onJobFailureReasons"]) == ("FailJobSet", ["PodFailurePolicy"])
    (pod_rule,) = job["podFailurePolicy"]["rules"]
    assert (pod_rule["action"], pod_rule["onExitCodes"]["values"]) == ("FailJob", [2])


@pytest.mark.parametrize(
    ("flags", "selector"), [((), {}), (("--reservation", "mine"), {"cloud.google.com/reservation-name": "mine"})]
)
def test_nodes_on_demand_or_reserved(cloud: Any, flags: tuple[str, ...], selector: dict[str, str]) -> None:
    (slices,) = jobset(cloud, *flags)["spec"]["replicatedJobs"]
    labels = slices["template"]["spec"]["template"]["spec"]["nodeSelector"]
    assert {key: value for key, value in labels.items() if "gke-tpu" not in key} == selector


def test_status_and_logs_and_delete_of_a_jobset(cloud: Any) -> None:
    cloud.succeeds("gke.sh", "status", "dnabert6", *PLACE, "--namespace", "dna")
    _, sets, pods = cloud.calls
    assert sets == ["kubectl", "get", "jobset", "dnabert6", "--namespace=dna"]
    assert "--selector=jobset.sigs.k8s.io/jobset-name=dnabert6" in pods
    cloud.succeeds("gke.sh", "logs", "dnabert6", *PLACE, "--follow")
    assert {"logs", "--container=pretrain", "--follow"} <= set(cloud.calls[-1])
    cloud.succeeds("gke.sh", "delete", "dnabert6", *PLACE)
    assert cloud.calls[-1][:4] == ["kubectl", "delete", "jobset", "dnabert6"]
