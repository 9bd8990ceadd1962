#!/usr/bin/env bash
# Summary: Install the pinned environment; every other script does this by itself on its first run.
#
# Usage: bin/setup.sh [gpu] [modelscope] [demo] [dev]
#
#   gpu         vLLM as well, for a GPU host
#   modelscope  what USE_MODELSCOPE_HUB=1 needs as well
#   demo        the page of bin/demo.sh
#   dev         what the tests and `make lint` need as well
#
# The environment is .venv/, or the folder that FEWSHOT_VENV names. PYTHON chooses the interpreter (3.12 or 3.11).

# In bash, whatever shell was asked; under its own name, whatever link was; without the caller's functions and options.
case ${BASH_VERSION:+$-} in *p*) ;; *)
  POSIXLY_CORRECT=1 # no function comes before unset and exec then
  unset -f readlink
  here=$(readlink -f -- "$0" 2>/dev/null) || here=$0
  exec "${BASH:-bash}" -p -- "$here" "$@"
  ;;
esac
set -Eeuo pipefail
# shellcheck source=lib/all.bash
source "${0%/*}/lib/all.bash"

main() {
  local part
  for part; do
    case $part in
    -h | --help)
      show_help "$0"
      exit 0
      ;;
    gpu | modelscope | demo | dev) ;;
    *) die "unknown part '$part'; see bin/setup.sh --help" ;;
    esac
  done
  use_environment "$@"
}

# Parsed whole before it runs: an edit of this file in the middle of a night does no harm.
[[ ${BASH_SOURCE[0]} != "$0" ]] || {
  main "$@"
  exit
}
