# Read by sync_up and sync_down: settings, and the few things both do. Not run by itself.

fail() { echo "$1" >&2; exit "${2:-2}"; }

# read_settings FILE: the variables of settings.env, from that file.
read_settings() {
  [ -f "$1" ] || fail "--settings must name a file, but $1 is none. Copy $here/settings.env and fill it in."
  # shellcheck disable=SC1090
  . "$1"
  [ -n "${POD_FOLDER:-}" ] || fail "$1 must set POD_FOLDER, but it is empty. Name the folder of Moola on the pod."
  command -v rsync >/dev/null || fail "rsync must be installed, but it is not there. Install it: apt-get install rsync"
  local key=${POD_KEY:-~/.ssh/id_ed25519}
  shell=(ssh -p "${POD_PORT:-22}" -o BatchMode=yes -o ConnectTimeout=20 -i "${key/#\~/$HOME}")
  pod=${POD_HOST:+${POD_USER:-root}@$POD_HOST:}
}

# on_pod COMMAND: run it in the pod's folder, with this script's standard input.
on_pod() {
  if [ -n "${POD_HOST:-}" ]; then
    "${shell[@]}" "${POD_USER:-root}@$POD_HOST" "cd $(printf %q "$POD_FOLDER") && $1"
  else
    (cd "$POD_FOLDER" && bash -c "$1")
  fi
}

# copy RULES FROM TO OPTION...: what the rules allow. Never deletes, never follows a link.
copy() {
  local rules=$1 from=$2 to=$3
  shift 3
  rsync --recursive --times --perms --checksum --no-links --prune-empty-dirs --filter="merge $here/$rules" \
    --rsh="$(printf '%q ' "${shell[@]}")" "$@" "$from/" "$to/"
}

# allowed RULES FOLDER: the files below a folder of this machine that the rules allow, one a line, sorted.
allowed() {
  local nothing
  nothing=$(mktemp -d)
  copy "$1" "$2" "$nothing" --dry-run --out-format=%n | grep -v '/$' | LC_ALL=C sort || true
  rmdir "$nothing"
}
