# What became of each step, for the summary in the morning: small JSON files in the folder FEWSHOT_OUTCOMES, which
# bin/sweep.sh makes. A script that runs alone leaves none.
# shellcheck shell=bash

# outcome_file STEP [SIZE]
outcome_file() { printf '%s/%s%s.json' "$FEWSHOT_OUTCOMES" "${1// /-}" "${2:+-$2}"; }

# outcome STATE STEP [SIZE [ARGUMENT...]]: note it (running, done, skipped, failed). SIZE is '' for a step of all sizes.
outcome() {
  [[ -n ${FEWSHOT_OUTCOMES-} && $DRY_RUN == 0 ]] || return 0
  python py/outcome.py --file "$(outcome_file "$2" "${3-}")" --step "$2" ${3:+--size "$3"} --state "$1" "${@:4}" ||
    warn "$2${3:+ of size $3}: what became of it could not be noted in $FEWSHOT_OUTCOMES; the summary will not know"
}

# begin_outcome STEP SIZE [ARGUMENT...]: the step begins; reasons go to its file from here on.
begin_outcome() {
  [[ -n ${FEWSHOT_OUTCOMES-} ]] || return 0
  outcome running "$@"
  FEWSHOT_OUTCOME=$(outcome_file "$1" "$2")
  export FEWSHOT_OUTCOME
}

DONE_BEFORE=3 # how a step's function, or its program's plan, ends when there is nothing to do

# end_outcome STATUS STEP [SIZE]: 0 is done, DONE_BEFORE skipped, anything else failed.
end_outcome() {
  local states=([0]='done' [DONE_BEFORE]='skipped')
  outcome "${states[$1]-failed}" "${@:2}"
}
