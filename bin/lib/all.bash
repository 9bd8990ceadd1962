# The library of the scripts in bin/: one file a subject.
# shellcheck shell=bash

_lib=${BASH_SOURCE[0]%/*}
# shellcheck source=common.bash
source "$_lib/common.bash"
# shellcheck source=settings.bash
source "$_lib/settings.bash"
# shellcheck source=settings_file.bash
source "$_lib/settings_file.bash"
# shellcheck source=environment.bash
source "$_lib/environment.bash"
# shellcheck source=process.bash
source "$_lib/process.bash"
# shellcheck source=device.bash
source "$_lib/device.bash"
# shellcheck source=outcomes.bash
source "$_lib/outcomes.bash"
# shellcheck source=runs.bash
source "$_lib/runs.bash"
# shellcheck source=sweep.bash
source "$_lib/sweep.bash"
# shellcheck source=slurm.bash
source "$_lib/slurm.bash"
# shellcheck source=slurm_queue.bash
source "$_lib/slurm_queue.bash"
# shellcheck source=serving.bash
source "$_lib/serving.bash"
# shellcheck source=models.bash
source "$_lib/models.bash"
unset _lib

SCRIPT_PARTS=()

# begin_script SCRIPT ARGUMENT...: --help, settings, the environment; from then on the project is the current folder, and
# FEWSHOT_SETTINGS names the file of the settings: that of the sweep that this is a part of, or one of our own.
# A script that takes flags of its own lists them in SCRIPT_FLAGS and finds those given in EXTRA_ARGS; SCRIPT_PARTS are
# parts of the environment that it needs beside the usual ones.
begin_script() {
  local script=$1 argument meant
  shift
  for argument; do
    if [[ $argument == -h || $argument == --help ]]; then
      show_help "$script"
      settings_help
      exit 0
    fi
  done
  if [[ -n ${FEWSHOT_SETTINGS-} ]]; then
    read_settings "$FEWSHOT_SETTINGS"
    EXTRA_ARGS=("$@")
  else
    load_settings "$@"
  fi
  for argument in "${EXTRA_ARGS[@]}"; do
    [[ " ${SCRIPT_FLAGS[*]-} " == *" $argument "* ]] || {
      meant=$(nearest "${argument%%=*}" "${!SETTING_FLAG[@]}" "${SCRIPT_FLAGS[@]}")
      die "unknown argument '$argument'; ${meant:+did you mean $meant? }see bin/${script##*/} --help"
    }
  done
  [[ " ${EXTRA_ARGS[*]-} " != *' --dry-run '* ]] || DRY_RUN=1
  cd -- "$ROOT" || die "$ROOT: cannot be entered"
  if [[ -z ${FEWSHOT_SETTINGS-} ]]; then
    OWN_SETTINGS=$(mktemp -- "${TMPDIR:-/tmp}/few-shot-sft.XXXXXX") || die "${TMPDIR:-/tmp}: cannot be written; set TMPDIR to another folder"
    trap 'rm -f -- "$OWN_SETTINGS"' EXIT
    export FEWSHOT_SETTINGS=$OWN_SETTINGS
    write_settings "$FEWSHOT_SETTINGS"
  fi
  local parts=()
  [[ $DEVICE != gpu ]] || parts+=(gpu)
  ((USE_MODELSCOPE_HUB == 0)) || parts+=(modelscope)
  if ((DRY_RUN)); then
    environment_is_there "${parts[@]}" ||
      die "a dry run installs nothing, and the environment is not there yet; make it with: bin/setup.sh${parts[*]:+ ${parts[*]}}"
    export PYTHONDONTWRITEBYTECODE=1
  fi
  use_environment "${parts[@]}" "${SCRIPT_PARTS[@]}"
}
