#!/usr/bin/env bash
# Summary: Print the table, draw the pictures and write the report of a sweep.
#
# Usage: bin/results.sh [--SETTING VALUE]...
#
# Reads the records objs/<run>.json; writes the table to the terminal, and results.csv, results.json, the learning
# curve, the radar, confusion matrices, the training losses, report.html and report.md to objs/<sweep>/. Before, with
# BACKEND=huggingface and a base model below a billion parameters, the labels' probabilities are found for the runs that
# lack them.
#
# Exit status: 0 done, 2 something for you to mend. Of a dry run: 3, for they are drawn every time.

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

SCRIPT_FLAGS=(--dry-run)

main() {
  begin_script "$0" "$@"
  if ((DRY_RUN)); then
    printf 'results: to do, they are drawn every time\n    python py/label_scores.py\n    python py/see_results.py\n'
    exit 3
  fi
  own_children
  run_child "the scoring of the labels" python py/label_scores.py || warn "label scores: they could not be made; the results go on"
  run_child "the drawing of the results" python py/see_results.py
}

# Parsed whole before it runs: an edit of this file in the middle of a night does no harm.
[[ ${BASH_SOURCE[0]} != "$0" ]] || {
  main "$@"
  exit
}
