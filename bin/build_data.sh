#!/usr/bin/env bash
# Summary: Draw the training subsets and the held-out splits.
#
# Usage: bin/build_data.sh [--SETTING VALUE]...
#
# Writes data/<sweep>/llm_train_<N>.json for each N in SIZES (llm_train_<N>-seed<S>.json for a seed S of SEEDS other
# than 42), llm_valid.json and llm_test.json in the original's Alpaca form, registers them in dataset_info.json and
# describes them in manifest.json. The data come from TRAIN_FILE when it is set, else from DATASET: a name on the hub,
# or synthetic-patents, which is generated. The same settings give the same bytes; what is up to date is left alone.
#
# Exit status: 0 done, 2 something for you to mend; earlier files stay as they are then.
# Of a dry run: 3 there is something to do.

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
  own_children
  run_child "the building of the data" python py/build_data.py "${EXTRA_ARGS[@]}"
}

# Parsed whole before it runs: an edit of this file in the middle of a night does no harm.
[[ ${BASH_SOURCE[0]} != "$0" ]] || {
  main "$@"
  exit
}
