# What the scripts beside it share: they source this file, and each defines usage().
# shellcheck shell=bash

if [[ " $* " == *" --help "* || ${1-} == -h ]]; then
  usage
  exit 0
fi
if [[ $# -eq 0 || $1 == -* ]]; then
  usage >&2
  exit 2
fi

# A file gets its name when it is whole, so that the script may be stopped and started again.
download() { # URL FILE
  if [[ ! -e $2 ]]; then
    curl --fail --location --show-error --continue-at - --output "$2.partial" "$1"
    mv "$2.partial" "$2"
  fi
}
