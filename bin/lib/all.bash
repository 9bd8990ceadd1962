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
# shellcheck source=server.bash
source "$_lib/server.bash"
# shellcheck source=one_server.bash
source "$_lib/one_server.bash"
# shellcheck source=outcomes.bash
source "$_lib/outcomes.bash"
# shellcheck source=sizes.bash
source "$_lib/sizes.bash"
# shellcheck source=plan.bash
source "$_lib/plan.bash"
unset _lib

# begin_script SCRIPT ARGUMENT...: --help, settings, the environment; from then on the project is the current folder.
# A script that takes flags of its own lists them in SCRIPT_FLAGS and finds those given in EXTRA_ARGS.
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
  load_settings "$@"
  for argument in "${EXTRA_ARGS[@]}"; do
    [[ " ${SCRIPT_FLAGS[*]-} " == *" ${argument/#--worker=*/--worker} "* ]] || {
      meant=$(nearest "${argument%%=*}" "${!SETTING_FLAG[@]}" "${SCRIPT_FLAGS[@]}")
      die "unknown argument '$argument'; ${meant:+did you mean $meant? }see bin/${script##*/} --help"
    }
    [[ $argument == --worker* ]] || continue
    [[ $argument =~ ^--worker=(0|[1-9][0-9]{0,8})$ ]] || die "$argument: a worker is of one size, --worker=100"
    WORKER=${BASH_REMATCH[1]}
  done
  [[ " ${EXTRA_ARGS[*]-} " != *' --dry-run '* ]] || DRY_RUN=1
  cd -- "$ROOT" || die "$ROOT: cannot be entered"
  local parts=()
  [[ $DEVICE != gpu ]] || parts+=(gpu)
  ((USE_MODELSCOPE_HUB == 0)) || parts+=(modelscope)
  ((DRY_RUN == 0)) || begin_dry_run "${parts[@]}"
  use_environment "${parts[@]}"
}
