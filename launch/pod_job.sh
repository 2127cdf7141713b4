# What queued_resource.sh and gke.sh share: the flags that describe a job, how a command is shown or run, and what each
# worker of the pod runs. They source this file; each defines usage().
# shellcheck shell=bash

if ((BASH_VERSINFO[0] < 5)); then
  echo "${0##*/}: error: this is bash $BASH_VERSION: install bash 5." >&2
  exit 2
fi

# shellcheck disable=SC2034 # for those who source this
grace_seconds=120 restarts=20 # from SIGTERM to SIGKILL, while a checkpoint is saved; of a job, one for each preemption
declare -A flags=([slices]=1)

fail() { # STATUS SENTENCE
  printf '%s: error: %s\n' "${0##*/}" "$2" >&2
  exit "$1"
}

# Reads ACTION NAME [--flag value | --flag=value | --switch]... [-- flags of pretrain]
# into action, name, flags (by name, without dashes) and pretrain_flags. Values, but for a URL of data, go into YAML and
# scripts as they are, so that only characters without a meaning there are taken.
read_arguments() { # "the flags that take a value" "the switches" ARGUMENT...
  local valued=" $1 " switches=" $2 " flag
  shift 2
  if [[ $# -eq 0 ]]; then
    usage >&2
    exit 2
  fi
  if [[ " $* " == *" --help "* || $1 == -h ]]; then
    usage
    exit 0
  fi
  action=$1 name=${2-}
  [[ " start status logs delete " == *" $action "* ]] ||
    fail 2 "There is no action '$action': choose start, status, logs or delete."
  [[ $name =~ ^[a-z]([-a-z0-9]{0,38}[a-z0-9])?$ ]] ||
    fail 2 "The name after $action is '$name': give 1 to 40 of a-z, 0-9 and -, the first a letter, the last no dash."
  shift 2
  pretrain_flags=()
  while [[ $# -gt 0 ]]; do
    flag=${1#--}
    case $1 in
      --)
        pretrain_flags=("${@:2}")
        for flag in "${pretrain_flags[@]}"; do
          [[ ! $flag =~ ^--(out|data|data-cache|distributed|resume)(=|$) ]] ||
            fail 2 "$flag of pretrain is set by ${0##*/}: give --run and --data before the lone --."
        done
        return
        ;;
      --*=*) set -- "${1%%=*}" "${1#*=}" "${@:2}" && continue ;;
      --*) ;;
      *) fail 2 "'$1' is no flag: the flags of pretrain follow a lone --." ;;
    esac
    if [[ $switches == *" $flag "* ]]; then
      flags[$flag]=yes
      shift
    elif [[ $valued == *" $flag "* ]]; then
      [[ -n ${2-} ]] || fail 2 "$1 needs a value."
      [[ $flag == data || $2 =~ ^[A-Za-z0-9._:/@-]+$ ]] ||
        fail 2 "$1 is '$2': it may have letters, digits and '._:/@-'."
      flags[$flag]=$2
      shift 2
    else
      fail 2 "There is no flag $1: ${0##*/} --help lists them, and those of pretrain follow a lone --."
    fi
  done
}

require() { # FLAG...
  local flag
  for flag; do
    [[ -n ${flags[$flag]-} ]] || fail 2 "$action needs --$flag."
  done
}

# Checks what describes the run, and sets bucket and run_path from --run gs://BUCKET/PATH.
check_run_flags() {
  require run data image
  [[ ${flags[run]} =~ ^gs://([a-z0-9._-]+)/([A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*)/?$ ]] ||
    fail 2 "--run is '${flags[run]}': give gs://BUCKET/PATH, of letters, digits, '.', '_' and '-'."
  bucket=${BASH_REMATCH[1]} run_path=${BASH_REMATCH[2]}
  [[ ${flags[slices]} =~ ^[1-9][0-9]*$ ]] || fail 2 "--slices is '${flags[slices]}': give a number of at least 1."
  local presets="nt-v2-50m nt-v2-100m nt-v2-250m nt-v2-500m nt-500m nt-2.5b nt-tiny dnabert3 dnabert4 dnabert5 dnabert6 tiny"
  [[ ! " ${pretrain_flags[*]}  " =~ \ --preset[\ =]([^\ ]*)\  || " $presets " == *" ${BASH_REMATCH[1]} "* ]] ||
    fail 2 "There is no preset '${BASH_REMATCH[1]}': choose one of ${presets// /, }."
}

is_dry_run() { [[ -n ${flags[dry-run]-} ]]; }

# Sets directory, for files of this call alone; a dry run writes none.
make_directory() {
  directory=.
  is_dry_run && return
  directory=$(mktemp -d)
  trap 'rm -rf "$directory"' EXIT
}

# Runs a command; a dry run prints it instead, quoted for a shell.
run() {
  if is_dry_run; then
    printf '%q ' "$@" && echo
  else
    "$@" || fail 1 "'$1 ${*:2:4}' failed: what it says stands above."
  fi
}

# Writes standard input to a file; a dry run prints the file instead.
write_file() { # PATH
  if is_dry_run; then
    printf "cat > %q <<'END_OF_FILE'\n%s\nEND_OF_FILE\n" "$1" "$(cat)"
  else
    cat > "$1"
  fi
}

# A checkpoint gets its name by renaming a directory, which is atomic in such a bucket alone (and elsewhere refused).
check_bucket() {
  local answer
  local describe=(gcloud storage buckets describe "gs://$bucket" --raw '--format=value(hierarchicalNamespace.enabled)')
  if is_dry_run; then
    run "${describe[@]}"
    return
  fi
  answer=$(run "${describe[@]}")
  [[ $answer == True ]] || fail 2 "gs://$bucket has no hierarchical namespace, which checkpoints need: make another \
with gcloud storage buckets create --enable-hierarchical-namespace --uniform-bucket-level-access."
}

# Prints what a worker's container runs, with the bucket at /bucket and local disk at /data-cache. SIGTERM is handed on
# to pretrain, which saves and exits 0: a run that is not at its end then exits 75, so that it is started again.
worker_script() {
  local pretrain
  printf -v pretrain '%q ' dnabert-jax pretrain --distributed --resume --data "${flags[data]}" \
    --out "/bucket/$run_path" --data-cache /data-cache "${pretrain_flags[@]}"
  cat << END
trap 'kill -TERM \$!' TERM
$pretrain&
while kill -0 "\$!" 2> /dev/null; do # a signal ends wait
  wait "\$!"
done
wait "\$!"
status=\$?
[ "\$status" -eq 0 ] || exit "\$status"
steps=\$(sed -n 's/^ *"steps": *\\([0-9]*\\).*/\\1/p' '/bucket/$run_path/config.json')
[ -d "/bucket/$run_path/checkpoints/\$steps" ] || { echo "Stopped before step \$steps." && exit 75; }
END
}
