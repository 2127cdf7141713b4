#!/usr/bin/env bash
# Pre-trains on a Cloud TPU slice, or several, as a queued resource: docs/pods.md.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR
source "$(dirname "${BASH_SOURCE[0]}")/pod_job.sh"

gcsfuse_version=3.11.2

usage() {
  cat << 'END'
usage: launch/queued_resource.sh start|status|logs|delete NAME --project PROJECT --zone ZONE [flags] [-- pretrain's flags]

start    Requests the slice; each worker begins pre-training when it boots. Again: goes on from the latest checkpoint,
         on the same machines if they are there, on new ones if they were preempted.
status   The state of the request, and of pre-training on each worker.
logs     What the first worker printed (--follow: and prints).
delete   Gives the machines back. The run stays in its bucket.

  --project PROJECT, --zone ZONE
  --accelerator-type TYPE   v5litepod-256, v6e-256, v5p-512, v4-512, ...
  --runtime-version VERSION of the TPU VMs; by default that for the type
  --slices N                as one job (1)
  --spot | --reserved       instead of on demand
  --image IMAGE             container with dnabert-jax in it
  --run gs://BUCKET/PATH    run directory, in a bucket with a hierarchical namespace
  --data URL                data directory made by dnabert-jax prepare
  --service-account EMAIL   of the TPU VMs
  --follow                  with logs
  --dry-run                 prints every command and every file, and runs nothing

example: launch/queued_resource.sh start dnabert6 --project my-project --zone us-west4-a --spot \
           --accelerator-type v5litepod-256 --image us-docker.pkg.dev/my-project/my-repo/dnabert-jax:0.1.0 \
           --run gs://my-bucket/runs/hg38-k6 --data gs://my-bucket/data/hg38-k6 -- --preset dnabert6
END
}

# Prints the startup script of a worker. It may run again: at a reboot, or over ssh.
startup_script() {
  local registry=${flags[image]%%/*}
  cat << END
#!/usr/bin/env bash
set -euo pipefail
export HOME=/root PATH="\$PATH:/snap/bin" DEBIAN_FRONTEND=noninteractive
mkdir -p /mnt/bucket /var/lib/dnabert-jax/data
if ! command -v gcsfuse; then
  curl -fsSL -o /tmp/gcsfuse.deb https://github.com/GoogleCloudPlatform/gcsfuse/releases/download/v$gcsfuse_version/gcsfuse_${gcsfuse_version}_amd64.deb
  apt-get -o DPkg::Lock::Timeout=600 update
  apt-get -o DPkg::Lock::Timeout=600 install -y /tmp/gcsfuse.deb
fi
END
  if [[ $registry == *.pkg.dev || $registry == *gcr.io ]]; then
    cat << END
gcloud auth print-access-token | docker login --username=oauth2accesstoken --password-stdin "https://$registry"
END
  fi
  cat << END
docker pull "${flags[image]}"
docker stop -t $grace_seconds dnabert-jax || true # it saves a checkpoint
docker rm --force dnabert-jax || true
# Not before: bash reads a script while it runs.
cat > /var/lib/dnabert-jax/worker.sh << 'END_OF_WORKER'
$(worker_script)
END_OF_WORKER
umount --lazy /mnt/bucket || true
# Nothing is cached of the names in the bucket, since other workers make and rename directories there.
gcsfuse --metadata-cache-ttl-secs=0 --metadata-cache-negative-ttl-secs=0 "$bucket" /mnt/bucket
docker run --detach --name=dnabert-jax --restart=on-failure:$restarts --stop-timeout=$grace_seconds \\
  --privileged --net=host --shm-size=16g \\
  --volume=/mnt/bucket:/bucket --volume=/var/lib/dnabert-jax/data:/data-cache \\
  --volume=/var/lib/dnabert-jax/worker.sh:/worker.sh:ro \\
  "${flags[image]}" bash /worker.sh
END
}

queued_resources() { # COMMAND ARGUMENT...
  run gcloud compute tpus queued-resources "$@" --project="${flags[project]}" --zone="${flags[zone]}" --quiet
}

on_workers() { # WORKERS COMMAND: on one worker of the first slice, or on all of all slices
  queued_resources ssh "$name" --node="$1" --worker="$1" --command="$2"
}

# Prints the state of the request: nothing if there is none.
state() {
  gcloud compute tpus queued-resources describe "$name" '--format=value(state.state)' --project="${flags[project]}" \
    --zone="${flags[zone]}" --quiet 2> "$directory/errors" && return
  grep --quiet NOT_FOUND "$directory/errors" && return
  cat "$directory/errors" >&2
  fail 1 "The state of $name could not be read: what gcloud says stands above."
}

create() {
  local arguments=(--accelerator-type="${flags[accelerator-type]}" --runtime-version="${flags[runtime-version]}")
  if [[ ${flags[slices]} -eq 1 ]]; then
    arguments+=(--node-id="$name")
  else
    arguments+=(--node-count="${flags[slices]}" --node-prefix="$name")
  fi
  [[ -z ${flags[spot]-} ]] || arguments+=(--spot)
  [[ -z ${flags[reserved]-} ]] || arguments+=(--reserved)
  [[ -z ${flags[service-account]-} ]] || arguments+=(--service-account="${flags[service-account]}")
  queued_resources create "$name" "${arguments[@]}" --metadata-from-file=startup-script="$directory/startup.sh"
}

restart() {
  queued_resources scp "$directory/startup.sh" "$name:dnabert-jax-startup.sh" --node=all --worker=all
  on_workers all "sudo bash dnabert-jax-startup.sh"
}

delete() { queued_resources delete "$name" --force; }

# Checks --accelerator-type against those of Cloud TPU. Its number counts chips; of v4 and v5p cores, two for each chip.
check_accelerator_type() {
  local type=${flags[accelerator-type]} sizes multiples=0
  case $type in
    v5litepod-* | v6e-*) sizes="1 4 8 16 32 64 128 256" ;;
    v4-*) sizes="8 16 32 64" multiples=8192 ;;
    v5p-*) sizes="8 16 32 64" multiples=12288 ;;
    *) fail 2 "There is no --accelerator-type '$type': give v5litepod-N, v6e-N, v5p-N or v4-N." ;;
  esac
  local number=${type#*-}
  [[ " $sizes " == *" $number "* ]] && return
  [[ $number =~ ^[1-9][0-9]{2,4}$ ]] && ((number % 128 == 0 && number <= multiples)) && return
  ((multiples == 0)) || sizes+=" and multiples of 128 up to $multiples"
  fail 2 "There is no --accelerator-type '$type': ${type%-*} has the sizes $sizes."
}

start() {
  local found
  check_run_flags
  require accelerator-type
  check_accelerator_type
  : "${flags[runtime-version]:=${runtimes[${flags[accelerator-type]%%-*}]}}"
  [[ -z ${flags[spot]-} || -z ${flags[reserved]-} ]] || fail 2 "Give --spot or --reserved, not both."
  make_directory
  check_bucket
  startup_script | write_file "$directory/startup.sh"
  if is_dry_run; then
    echo "# The state of the request:"
    queued_resources describe "$name" '--format=value(state.state)'
    echo "# If there is none:"
    create
    echo "# If it is ACTIVE, its machines start the job again:"
    restart
    echo "# If it is SUSPENDED or FAILED:"
    delete
    create
    return
  fi
  found=$(state)
  case $found in
    "") create ;;
    ACTIVE) restart ;;
    SUSPENDED | FAILED)
      delete
      create
      ;;
    ACCEPTED | WAITING_FOR_RESOURCES | PROVISIONING | CREATING)
      echo "$name is $found: it begins by itself, as it was first requested. To change that, delete it first."
      return
      ;;
    *) fail 1 "$name is $found: run start again when status shows another state." ;;
  esac
  echo "Run in ${flags[run]}. Next: $0 status $name --project ${flags[project]} --zone ${flags[zone]}; the same with logs."
}

status() {
  local found containers="sudo docker ps --all --filter=name=dnabert-jax --format='{{.Status}}'"
  if is_dry_run; then
    queued_resources describe "$name" '--format=value(state.state)'
    echo "# If it is ACTIVE:"
    on_workers all "$containers"
    return
  fi
  make_directory
  found=$(state)
  [[ -n $found ]] || fail 1 "There is no queued resource $name in ${flags[zone]} of ${flags[project]}: start makes it."
  echo "$name: $found"
  [[ $found != ACTIVE ]] || on_workers all "$containers"
}

logs() {
  # The startup script's, as long as there is no container.
  on_workers 0 "sudo docker logs ${flags[follow]:+--follow }dnabert-jax || sudo journalctl --no-pager --unit=google-startup-scripts"
}

declare -A runtimes=([v5litepod]=v2-alpha-tpuv5-lite [v6e]=v2-alpha-tpuv6e [v5p]=v2-alpha-tpuv5 [v4]=tpu-ubuntu2204-base)
read_arguments "project zone accelerator-type runtime-version slices image run data service-account" \
  "spot reserved follow dry-run" "$@"
require project zone
"$action"
