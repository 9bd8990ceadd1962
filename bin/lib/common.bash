# Messages, failing, --help. Sourced first by every script in bin/.
# shellcheck shell=bash

# shellcheck source=clean.bash
source "${BASH_SOURCE[0]%/*}/clean.bash"

ROOT=$(cd -- "${BASH_SOURCE[0]%/*}/../.." && pwd -P)
# shellcheck disable=SC2034 # for settings.bash: relative paths in flags are the caller's
CALLER_DIR=$PWD

DRY_RUN=0 # begin_script: say what would be done, and change nothing on the disk
# shellcheck disable=SC2034 # for process.bash
OWN_SETTINGS='' # begin_script: the settings file of a script that is started alone

# Whatever the caller's mask is: what a sweep writes is not for every user of the machine to change.
umask o-w

if [[ ${DEBUG:-} == 1 ]]; then
  PS4='+ ${BASH_SOURCE[0]##*/}:${LINENO}: '
  set -x
fi

# say MESSAGE...: one line of progress, for people; stdout is left to results. That it cannot be written (a full disk, a
# terminal that is gone) ends nothing.
say() { printf '%s %s\n' "$(date +%H:%M:%S)" "$*" >&2 || true; }

# warn MESSAGE...
warn() { printf '%s warning: %s\n' "$(date +%H:%M:%S)" "$*" >&2 || true; }

# note_reason TEXT: why the step under way cannot be done, for the summary (outcomes.bash). FEWSHOT_OUTCOME is its file.
note_reason() {
  [[ -n ${FEWSHOT_OUTCOME-} && $DRY_RUN == 0 ]] || return 0
  python py/outcome.py --note "$1" 2>/dev/null || true
}

# die MESSAGE...: an error that the user can mend; exit 2.
die() {
  note_reason "$*"
  printf 'error: %s\n' "$*" >&2 || true
  exit 2
}

# show_help SCRIPT: the script's header comment is its help, followed by the settings that it takes.
show_help() {
  awk 'NR == 1 { next } /^#/ { sub(/^# ?/, ""); print; next } { exit }' "$1"
}

# ensure_folder FOLDER: make it, or say why it cannot be made or written. A dry run makes none.
ensure_folder() {
  ((DRY_RUN == 0)) || return 0
  mkdir -p -- "$1" 2>/dev/null || die "$1: cannot be made; check the owner and the mode of its parent (ls -ld), or choose another folder"
  local probe=$1/.write-test.$$
  (: >"$probe") 2>/dev/null ||
    die "$1: cannot be written; check its owner and mode (ls -ld) or a read-only mount, or choose another folder"
  rm -f -- "$probe"
}

# short PATH: relative to the project where it lies inside it, so that commands, logs and records read alike on
# every machine, and so that no trainer argument holds a space when only the project's own path has one.
short() {
  if [[ $1 == "$ROOT"/* ]]; then printf '%s' "${1#"$ROOT"/}"; else printf '%s' "$1"; fi
}
