#!/usr/bin/env bash
# Pre-trains on TPU slices of a GKE cluster, as a JobSet: docs/pods.md.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR
source "$(dirname "${BASH_SOURCE[0]}")/pod_job.sh"

usage() {
  cat << 'END'
usage: launch/gke.sh start|status|logs|delete NAME --project PROJECT --location LOCATION --cluster CLUSTER [flags]
         [-- pretrain's flags]

start    Runs pre-training as a JobSet, which the cluster starts again after a preemption, from the latest checkpoint.
         Again: stops the JobSet of that name, which saves a checkpoint, and goes on from there.
status   The JobSet and its pods.
logs     What the first worker printed (--follow: and prints).
delete   Stops the job. The run stays in its bucket, the node pools in the cluster.

  --project PROJECT, --location LOCATION (zone or region), --cluster CLUSTER
  --namespace NAMESPACE        (default)
  --accelerator ACCELERATOR    node label: tpu-v5-lite-podslice, tpu-v6e-slice, tpu-v5p-slice, tpu-v4-podslice
  --topology TOPOLOGY          of a slice: 16x16, 4x4x8, ...
  --chips-per-node N           (4; a slice of one node has fewer or 8)
  --slices N                   as one job, each on a node pool of its own (1)
  --spot | --reservation NAME  instead of on demand
  --image IMAGE                container with dnabert-jax in it
  --run gs://BUCKET/PATH       run directory, in a bucket with a hierarchical namespace
  --data URL                   data directory made by dnabert-jax prepare
  --service-account ACCOUNT    Kubernetes service account that may use the bucket (default)
  --follow                     with logs
  --dry-run                    prints every command and every file, and runs nothing

example: launch/gke.sh start dnabert6 --project my-project --location us-west4 --cluster my-cluster --spot \
           --accelerator tpu-v5-lite-podslice --topology 16x16 \
           --image us-docker.pkg.dev/my-project/my-repo/dnabert-jax:0.1.0 \
           --run gs://my-bucket/runs/hg38-k6 --data gs://my-bucket/data/hg38-k6 -- --preset dnabert6
END
}

# Whether --topology has three sides that are multiples of 4, none shorter than the one before, and at most $1 chips.
is_large_topology() {
  local a b c
  IFS=x read -r a b c <<< "${flags[topology]}"
  [[ -n $c ]] && ((a % 4 == 0 && b % 4 == 0 && c % 4 == 0 && a <= b && b <= c && a * b * c <= $1))
}

# Sets nodes, of one slice, from --topology and --chips-per-node.
count_nodes() {
  local chips limit=4096 per_node=${flags[chips-per-node]}
  [[ ${flags[topology]} =~ ^[1-9][0-9]*(x[1-9][0-9]*){1,2}$ ]] ||
    fail 2 "--topology is '${flags[topology]}': give one like 16x16 or 4x4x8."
  case ${flags[accelerator]} in
    tpu-v5-lite-podslice | tpu-v5-lite-device | tpu-v6e-slice | tpu-v6e-device)
      [[ " 1x1 2x2 2x4 4x4 4x8 8x8 8x16 16x16 " == *" ${flags[topology]} "* ]] ||
        fail 2 "${flags[accelerator]} has no --topology ${flags[topology]}: give 1x1, 2x2, 2x4, 4x4, 4x8, 8x8, 8x16 or 16x16."
      ;;
    tpu-v4-podslice | tpu-v5p-slice)
      [[ ${flags[accelerator]} == tpu-v5p-slice ]] && limit=6144
      [[ " 2x2x1 2x2x2 2x2x4 2x4x4 " == *" ${flags[topology]} "* ]] || is_large_topology $limit ||
        fail 2 "${flags[accelerator]} has no --topology ${flags[topology]}: give 2x2x1, 2x2x2, 2x2x4, 2x4x4, or three multiples of 4 in ascending order, like 4x4x8, with at most $limit chips."
      ;;
    *)
      fail 2 "There is no --accelerator '${flags[accelerator]}': give one of the node labels tpu-v5-lite-podslice, tpu-v6e-slice, tpu-v5p-slice and tpu-v4-podslice."
      ;;
  esac
  [[ $per_node =~ ^[1248]$ ]] || fail 2 "--chips-per-node is '$per_node': give 1, 2, 4 or 8."
  chips=$((${flags[topology]//x/*}))
  ((chips % per_node == 0)) || fail 2 "The $chips chips of --topology ${flags[topology]} do not divide over nodes of $per_node."
  nodes=$((chips / per_node))
}

manifest() {
  local capacity=""
  [[ -z ${flags[spot]-} ]] || capacity='cloud.google.com/gke-spot: "true"'
  [[ -z ${flags[reservation]-} ]] || capacity="cloud.google.com/reservation-name: \"${flags[reservation]}\""
  cat << END
apiVersion: jobset.x-k8s.io/v1alpha2
kind: JobSet
metadata:
  name: $name
  annotations:
    alpha.jobset.sigs.k8s.io/exclusive-topology: cloud.google.com/gke-nodepool # a slice is a node pool
spec:
  failurePolicy:
    maxRestarts: $restarts
    rules:
      - name: bad-input # which is so the next time too
        action: FailJobSet
        onJobFailureReasons: [PodFailurePolicy]
  replicatedJobs:
    - name: slice
      replicas: ${flags[slices]}
      template:
        spec:
          parallelism: $nodes
          completions: $nodes
          backoffLimit: 0 # one process cannot come back alone: all are started again
          podFailurePolicy:
            rules:
              - action: FailJob
                onExitCodes: {containerName: pretrain, operator: In, values: [2]}
          template:
            metadata:
              annotations:
                gke-gcsfuse/volumes: "true"
                gke-gcsfuse/cpu-limit: "0" # none
                gke-gcsfuse/memory-limit: "0"
                gke-gcsfuse/ephemeral-storage-limit: "0"
            spec:
              restartPolicy: Never
              serviceAccountName: "${flags[service-account]}"
              terminationGracePeriodSeconds: $grace_seconds
              nodeSelector:
                cloud.google.com/gke-tpu-accelerator: "${flags[accelerator]}"
                cloud.google.com/gke-tpu-topology: "${flags[topology]}"
                $capacity
              tolerations:
                - {key: google.com/tpu, operator: Exists}
              containers:
                - name: pretrain
                  image: "${flags[image]}"
                  securityContext: {privileged: true}
                  resources:
                    requests: {google.com/tpu: ${flags[chips-per-node]}}
                    limits: {google.com/tpu: ${flags[chips-per-node]}}
                  volumeMounts:
                    - {name: bucket, mountPath: /bucket}
                    - {name: data-cache, mountPath: /data-cache}
                  command:
                    - bash
                    - -c
                    - |
$(worker_script | sed 's/^/                      /')
              volumes:
                - name: bucket
                  csi:
                    driver: gcsfuse.csi.storage.gke.io
                    volumeAttributes:
                      bucketName: "$bucket"
                      # Nothing is cached of the names in the bucket: other workers make and rename directories there.
                      mountOptions: "metadata-cache:ttl-secs:0,metadata-cache:negative-ttl-secs:0"
                - name: data-cache
                  emptyDir: {}
END
}

# The commands below go to this cluster and leave the user's own kubectl settings alone.
connect() {
  make_directory
  export KUBECONFIG=$directory/kubeconfig
  ! is_dry_run || echo "export KUBECONFIG=$KUBECONFIG"
  run gcloud container clusters get-credentials "${flags[cluster]}" --location="${flags[location]}" \
    --project="${flags[project]}" --quiet
}

cluster() { # COMMAND ARGUMENT...
  run kubectl "$@" --namespace="${flags[namespace]}"
}

start() {
  check_run_flags
  require accelerator topology
  [[ -z ${flags[spot]-} || -z ${flags[reservation]-} ]] || fail 2 "Give --spot or --reservation, not both."
  count_nodes
  check_bucket
  connect
  manifest | write_file "$directory/jobset.yaml"
  # A JobSet cannot be changed; deleting one waits until its pods have ended.
  cluster delete jobset "$name" --ignore-not-found --cascade=foreground
  cluster apply --filename="$directory/jobset.yaml"
  is_dry_run || echo "Run in ${flags[run]}. Next: $0 status $name --project ${flags[project]}" \
    "--location ${flags[location]} --cluster ${flags[cluster]}; the same with logs."
}

status() {
  connect
  cluster get jobset "$name"
  cluster get pods --selector="jobset.sigs.k8s.io/jobset-name=$name" --output=wide
}

logs() {
  connect
  cluster logs --selector="jobset.sigs.k8s.io/jobset-name=$name,jobset.sigs.k8s.io/job-index=0,batch.kubernetes.io/job-completion-index=0" \
    --container=pretrain --tail=-1 ${flags[follow]:+--follow}
}

delete() {
  connect
  cluster delete jobset "$name" --cascade=foreground
}

flags+=([chips-per-node]=4 [namespace]=default [service-account]=default)
read_arguments "project location cluster namespace accelerator topology chips-per-node slices reservation image run data service-account" \
  "spot follow dry-run" "$@"
require project location cluster
"$action"
