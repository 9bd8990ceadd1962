# What became of each step, for the summary in the morning: small JSON files in the folder FEWSHOT_OUTCOMES, which
# bin/sweep.sh makes. A script that runs alone leaves none. Those of the runs are left by py/train.py and py/eval.py.
# shellcheck shell=bash

# outcome STATE STEP: note it (running, done, failed).
outcome() {
  [[ -n ${FEWSHOT_OUTCOMES-} && $DRY_RUN == 0 ]] || return 0
  python py/outcome.py --step "$2" --state "$1" ||
    warn "$2: what became of it could not be noted in $FEWSHOT_OUTCOMES; the summary will not know"
}

# begin_outcome STEP: the step begins; reasons go to its file from here on.
begin_outcome() {
  [[ -n ${FEWSHOT_OUTCOMES-} ]] || return 0
  outcome running "$1"
  export FEWSHOT_OUTCOME=$FEWSHOT_OUTCOMES/${1// /-}.json
}

# end_outcome STATUS STEP
end_outcome() { if (($1 == 0)); then outcome 'done' "$2"; else outcome failed "$2"; fi; }
