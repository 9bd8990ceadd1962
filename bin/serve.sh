#!/usr/bin/env bash
# Summary: Serve adapters behind an OpenAI-compatible API until Ctrl-C.
#
# Usage: bin/serve.sh [--host ADDRESS] RUN... [--SETTING VALUE]...
#
# RUN is a name as in saves/<model>/lora/ (tiny-llm_train_2000): the name of the model to ask for. Several are served with
# SERVER=vllm, one with `llamafactory-cli api`. Prints the URL and the key once. It listens on 127.0.0.1, from API_PORT on;
# --host 0.0.0.0 lets other machines in. Examples of what to ask it: docs/langchain.md.
#
# Exit status: 1 the server failed, 2 something for you to mend, 130/143/129 ended.

# In bash, whatever shell was asked; under its own name, whatever link was; without the caller's functions and options.
case ${BASH_VERSION:+$-} in *p*) ;; *)
  POSIXLY_CORRECT=1 # no function comes before unset and exec then
  unset -f readlink
  here=$(readlink -f -- "$0" 2>/dev/null) || here=$0
  exec "${BASH:-bash}" -p -- "$here" "$@"
  ;;
esac
set -Eeuo pipefail
# The server's command is that of the evaluation.
# shellcheck source=eval.sh
source "${0%/*}/eval.sh"

SCRIPT_FLAGS=(--host)

main() {
  local chosen=()
  take_host "$@"
  set -- "${REST[@]}"
  while (($# > 0)) && [[ $1 != -* ]]; do chosen+=("$1") && shift; done
  begin_script "$0" "$@"
  ((${#chosen[@]} > 0)) || chosen=('')
  serve_command "${chosen[@]}"
  become py/serve.py "${chosen[@]}" "${TAKEN[@]}" -- "${SERVER_COMMAND[@]}"
}

# Parsed whole before it runs: an edit of this file in the middle of a night does no harm.
[[ ${BASH_SOURCE[0]} != "$0" ]] || {
  main "$@"
  exit
}
