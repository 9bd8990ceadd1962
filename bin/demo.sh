#!/usr/bin/env bash
# Summary: A page in the browser: the labels that runs give to your texts, side by side.
#
# Usage: bin/demo.sh [--host ADDRESS] [--SETTING VALUE]...
#
# Type, paste or upload texts, or take some of the test set; choose among the adapters, the base model, tfidf and
# embedding. With SERVER=vllm one server answers for all adapters; else `llamafactory-cli api` is started for the one that
# is asked, and ended before the next. The methods learn anew from their training subsets, in seconds. With MODELS it has
# the runs of all models, one server after the other.
#
# The page listens on 127.0.0.1, from port 8501 on, until Ctrl-C; --host 0.0.0.0 lets other machines in, without a
# password. Nothing is sent elsewhere. REPORT_LANG=zh: in Chinese, which can be chosen on the page, too.
#
# Exit status: 2 something for you to mend, 130/143/129 ended.

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

# shellcheck disable=SC2034 # for all.bash
SCRIPT_FLAGS=() SCRIPT_PARTS=(demo)

main() {
  take_host "$@"
  begin_script "$0" "${REST[@]}"
  ensure_folder "$LOGS_DIR"
  inputs_are_there
  use_hardware
  become py/demo.py "${TAKEN[@]}"
}

# Parsed whole before it runs: an edit of this file in the middle of a night does no harm.
[[ ${BASH_SOURCE[0]} != "$0" ]] || {
  main "$@"
  exit
}
