#!/usr/bin/env bash
# Summary: Talk to a run's adapter, or to the base model.
#
# Usage: bin/chat.sh [RUN] [--ask TEXT] [--SETTING VALUE]...
#
# RUN is a name as in saves/<model>/lora/ (tiny-llm_train_2000); without one it is the base model. The server is started
# for you, and ends with the conversation: /reset forgets what was said, /system shows the instruction that the model was
# trained with, /quit or Ctrl-D ends. A text that is pasted over several lines is one message. --ask asks one question and
# prints the answer alone, for scripts.
#
# Exit status: 0 ended, 1 the server or an answer failed, 2 something for you to mend, 130/143/129 interrupted.

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

SCRIPT_FLAGS=(--ask)

main() {
  local chosen=()
  take_flag --ask 'the text to ask' "$@"
  set -- "${REST[@]}"
  if (($# > 0)) && [[ $1 != -* ]]; then chosen=("$1") && shift; fi
  begin_script "$0" "$@"
  serve_command "${chosen[@]}"
  become py/chat.py "${chosen[@]}" "${TAKEN[@]}" -- "${SERVER_COMMAND[@]}"
}

# Parsed whole before it runs: an edit of this file in the middle of a night does no harm.
[[ ${BASH_SOURCE[0]} != "$0" ]] || {
  main "$@"
  exit
}
