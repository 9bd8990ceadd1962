# Several models: a sweep for each of MODELS, on the same data, and their results together.
# shellcheck shell=bash

# sweep_models FLAG...: what bin/sweep.sh does with these flags, for one model after the other; the results of all go to
# objs/<sweep>/. A model whose runs fail does not stop the others. Exits.
sweep_models() {
  local model name method names=() methods=$METHODS others given=() failed=0 status flags=() argument by_jobs=0
  # What came from the environment is no longer there; a command, which may hold a secret, is not for a command line.
  # shellcheck disable=SC2154 # of settings.bash
  for name in "${!from_env[@]}"; do [[ $name == ON_FINISH ]] || given+=("$name=${from_env[$name]}"); done
  export ON_FINISH
  [[ $methods != auto || $TASK != classification ]] || methods='lora zero-shot tfidf embedding' # to be told apart below
  # What needs no language model is the same for all: the first has it.
  others=" $methods "
  for method in tfidf embedding encoder setfit; do others=${others// $method / }; done
  read -r others <<<"$others"
  [[ -n $others ]] || die "METHODS=$methods has nothing that differs from model to model; add lora to METHODS, or unset MODELS"
  # By jobs all are submitted before one is waited for.
  [[ " ${EXTRA_ARGS[*]-} " != *' --slurm '* ]] || by_jobs=1
  [[ " $* " != *' --cancel '* ]] || cancel_comparison
  for argument; do [[ $by_jobs == 1 && $argument == --wait ]] || flags+=("$argument"); done
  for model in $MODELS; do
    status=0 names+=("$SWEEP_NAME-$model")
    start_family "the sweep of $model" env "${given[@]}" "$BASH" -p bin/sweep.sh "${flags[@]}" --models= --profile "$model" --methods "$methods" \
      --sweep-name "$SWEEP_NAME-$model" --data-dir "$DATA_DIR"
    wait_group "$GROUP" || status=$?
    ((status == 0 || status == 1 || (DRY_RUN && status == 3))) || exit "$status"
    ((status == 0)) || failed=$status
    methods=$others
  done
  ((by_jobs == 0 || DRY_RUN)) || [[ " $* " == *' --cancel '* ]] || models_by_jobs "${names[@]}"
  ((DRY_RUN || by_jobs)) || FEWSHOT_SETTINGS=$LOGS_DIR/${names[0]}.settings.json run_child "the results of all models" \
    python py/see_results.py --run "${names[@]:1}" --out "$OBJS_DIR/$SWEEP_NAME"
  exit "$failed"
}
