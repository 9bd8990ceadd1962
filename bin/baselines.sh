#!/usr/bin/env bash
# Summary: Learn and answer by the methods beside LoRA, on the same training subsets and the same test items.
#
# Usage: bin/baselines.sh [--on-gpu] [--SETTING VALUE]...
#
# For each method of METHODS that needs no server: tfidf, embedding, llm-embedding, encoder, setfit. They run on the CPU,
# one after the other. On a machine with a GPU the last three run with --on-gpu only, which a sweep does when the GPU is
# free. A method that cannot run here says why and is left out.
#
# Results go to objs/<run>.json, like those of the adapters; what is done is skipped. With tfidf, the labelled texts are
# looked at as well: labels that look wrong, near-duplicates, and what to label next (docs/data_quality.md).
#
# Exit status: 0 all is done or left out, 1 some failed, 2 something for you to mend, 130/143/129 interrupted.

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

SCRIPT_FLAGS=(--dry-run --on-gpu)

# part WHAT PROGRAM...: sets main's `failed` when it fails; what the user has to mend ends all.
part() {
  local status=0
  run_child "$1" python "${@:2}" "${dry[@]}" || status=$?
  ((status != 2)) || exit 2
  ((status == 0)) || failed=$status
}

main() {
  begin_script "$0" "$@"
  ensure_folder "$OBJS_DIR"
  [[ $DRY_RUN == 1 || -f $DATA_DIR/manifest.json ]] || die "$DATA_DIR: there is no data; make it with bin/build_data.sh"
  use_hardware
  own_children
  local method methods=(tfidf embedding) dry=() failed=0
  ((DRY_RUN == 0)) || dry=(--dry-run)
  if [[ $DEVICE == cpu ]]; then
    methods+=(llm-embedding encoder setfit)
  elif [[ " ${EXTRA_ARGS[*]-} " == *' --on-gpu '* ]]; then
    methods=(llm-embedding encoder setfit)
  else
    export CUDA_VISIBLE_DEVICES=''
  fi
  # scikit-learn's optimizer is slower on several threads; what gains by them asks for them.
  export OMP_NUM_THREADS=1
  for method in "${methods[@]}"; do
    [[ " $METHODS " == *" $method "* ]] || continue
    part "the method $method" py/baseline.py "$method"
  done
  [[ " ${methods[*]} " != *' tfidf '* || " $METHODS " != *' tfidf '* ]] || part "the check of the data" py/data_quality.py
  exit "$failed"
}

# Parsed whole before it runs: an edit of this file in the middle of a night does no harm.
[[ ${BASH_SOURCE[0]} != "$0" ]] || {
  main "$@"
  # shellcheck disable=SC2317 # main always exits itself
  exit
}
