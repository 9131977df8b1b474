# Sourced by sync_up and sync_down: settings and shared functions. Do not run it directly.

fail() { echo "$1" >&2; exit "${2:-2}"; }

# read_settings FILE: read the variables of settings.env from FILE.
read_settings() {
  [ -f "$1" ] || fail "--settings must be a file, but $1 is not. Copy $here/settings.env and fill it in."
  # shellcheck disable=SC1090
  . "$1"
  [ -n "${POD_FOLDER:-}" ] || fail "$1 must set POD_FOLDER, but it is empty. Name the folder of Moola on the pod."
  command -v rsync >/dev/null || fail "rsync must be installed, but it was not found. Install it: apt-get install rsync"
  local key=${POD_KEY:-~/.ssh/id_ed25519}
  shell=(ssh -p "${POD_PORT:-22}" -o BatchMode=yes -o ConnectTimeout=20 -i "${key/#\~/$HOME}")
  pod=${POD_HOST:+${POD_USER:-root}@$POD_HOST:}
}

# on_pod COMMAND: run COMMAND in the pod's folder, with this script's standard input.
on_pod() {
  if [ -n "${POD_HOST:-}" ]; then
    "${shell[@]}" "${POD_USER:-root}@$POD_HOST" "cd $(printf %q "$POD_FOLDER") && $1"
  else
    (cd "$POD_FOLDER" && bash -c "$1")
  fi
}

# copy RULES FROM TO OPTION...: copy the files that RULES allow. Deletes nothing, follows no links.
copy() {
  local rules=$1 from=$2 to=$3
  shift 3
  rsync --recursive --times --perms --checksum --no-links --prune-empty-dirs --filter="merge $here/$rules" \
    --rsh="$(printf '%q ' "${shell[@]}")" "$@" "$from/" "$to/"
}

# allowed RULES FOLDER: list the files below a local FOLDER that RULES allow, one per line, sorted.
allowed() {
  local nothing
  nothing=$(mktemp -d)
  copy "$1" "$2" "$nothing" --dry-run --out-format=%n | grep -v '/$' | LC_ALL=C sort || true
  rmdir "$nothing"
}
