#!/usr/bin/env bats
# What our programs run in: which shell, what is needed on PATH, which of the caller's variables. bin/setup.sh, which has
# nothing to do, stands for all scripts: they begin alike.

load helpers/common

setup() {
  make_work
  mkdir -- "$WORK/path"
}

@test "every script begins alike" {
  local file heads=()
  mapfile -t heads < <(for file in "$PROJECT"/{bin,bench}/*.sh; do
    sed -n '/^case /,/^set -/p' "$file" | cksum
  done | sort -u)
  equal 1 "${#heads[@]}"
}

@test "started by any shell and by way of any link, from its own folder too" {
  local shell folder=$WORK/path
  ln -s -- "$PROJECT/bin" "$folder/bin"
  ln -s -- "$folder/bin/setup.sh" "$folder/link"
  ln -s link "$folder/a link to it"
  for shell in sh bash 'bash --posix' dash zsh ksh mksh 'busybox sh'; do
    type -P "${shell%% *}" >/dev/null || continue
    # shellcheck disable=SC2086 # words
    ran $shell "$folder/a link to it" gpux
    status_is 2
    equal "error: unknown part 'gpux'; see bin/setup.sh --help" "$output"
  done
  cd "$PROJECT/bin"
  for folder in setup.sh "$folder/bin/setup.sh" "$folder/a link to it"; do
    ran sh "$folder" --help
    status_is 0
    equal 'Summary: Install the pinned environment; every other script does this by itself on its first run.' "${output%%$'\n'*}"
  done
}

@test "bash older than 5.1 is refused in one line" {
  # The one that runs this, but for what it takes itself for.
  local old=$WORK/path/bash script
  LC_ALL=C sed "s/\x00${BASH_VERSINFO[0]}\.${BASH_VERSINFO[1]}\x00/\x005.0\x00/" "$BASH" >"$old"
  chmod +x "$old"
  [[ $("$old" -c 'echo "${BASH_VERSINFO[*]:0:2}"' 2>/dev/null) == '5 0' ]] || skip 'this bash cannot be made to look like another'
  for script in "$PROJECT"/bin/*.sh; do
    PATH=$WORK/path:$PATH ran sh "$script" --help
    status_is 2
    [[ $output == "error: bash 5.1 or newer is needed, and $old is bash 5.0"*'; put a newer one first on PATH' ]] || fail "$output"
  done
}

@test "all that is missing on PATH is named in one line, with its package" {
  ran env PATH='' "$BASH" "$PROJECT/bin/sweep.sh" --dry-run
  status_is 2
  local needed=$output program
  [[ $needed == 'error: not on PATH: flock setpriv setsid (package util-linux), cat '*'timeout tr (package coreutils), grep (package grep), sed (package sed), awk (package mawk or gawk); install it, or add its folder to PATH' ]] || fail "$needed"
  needed=$(sed 's/.*PATH: //; s/;.*//; s/ (package [^)]*),*//g' <<<"$needed")
  for program in $needed; do ln -s -- "$(type -P "$program")" "$WORK/path/"; done
  for program in $needed; do
    mv -- "$WORK/path/$program" "$WORK/"
    ran env "PATH=$WORK/path" "$BASH" "$PROJECT/bin/setup.sh"
    status_is 2
    [[ $output == "error: not on PATH: $program (package "*'); install it, or add its folder to PATH' ]] || fail "$output"
    mv -- "$WORK/$program" "$WORK/path/"
  done
  ran env "PATH=$WORK/path" "$BASH" "$PROJECT/bin/setup.sh"
  equal '0 ' "$status $output"
  # BusyBox's does not know --pdeathsig.
  printf '#!%s\n[[ $1 != --pdeathsig ]]' "$BASH" >"$WORK/setpriv"
  chmod +x "$WORK/setpriv"
  ran env "PATH=$WORK:$PATH" "$BASH" "$PROJECT/bin/setup.sh"
  status_is 2
  said 'error: not on PATH: setpriv with --pdeathsig (package util-linux, 2.33 or newer)'
}

@test "what was meant for other programs is unset, what is set for ours on purpose stays, no setting is taken away" {
  local kept=(HF_TOKEN=a HF_HOME=a HF_ENDPOINT=a HTTP_PROXY=a CUDA_VISIBLE_DEVICES=a NCCL_DEBUG=a MODELSCOPE_CACHE=a
    VLLM_CACHE_ROOT=a TORCH_HOME=a OMP_NUM_THREADS=a UV_INDEX_URL=a PYTHON=a LD_LIBRARY_PATH=a)
  local gone=(PYTHONPATH=a PYTHONHOME=a PYTHONWHATEVER=a CDPATH=a GREP_COLOR=a LANGSMITH_API_KEY=a LANGCHAIN_X=a OPENAI_X=a
    WANDB_API_KEY=a FORCE_TORCHRUN=1 USE_V1=1 RANK=1 LOCAL_RANK=1 WORLD_SIZE=2 LOCAL_WORLD_SIZE=2 MASTER_PORT=1 NNODES=2
    MAX_NNODES=2 ACCELERATE_X=a API_KEY=a GIT_DIR=a IMAGE_PLACEHOLDER=a TMPDIR=/nowhere)
  local set=(PYTHONUTF8=1 LC_ALL=C.UTF-8 LANGSMITH_TRACING=false LANGCHAIN_TRACING_V2=false DO_NOT_TRACK=1
    HF_HUB_DISABLE_TELEMETRY=1 HF_UPDATE_DOWNLOAD_COUNTS=0 VLLM_NO_USAGE_STATS=1 GRADIO_ANALYTICS_ENABLED=False
    'no_proxy=hub.local,127.0.0.1,localhost,::1' 'NO_PROXY=hub.local,127.0.0.1,localhost,::1')
  ran env -u no_proxy "${kept[@]}" "${gone[@]}" NO_PROXY=hub.local PYTHONUTF8=0 LC_ALL=C bash -c \
    'source "$1/bin/lib/clean.bash"; export -p >"$2"; env' _ "$PROJECT" "$WORK/exported"
  status_is 0
  local each
  for each in "${kept[@]}" "${set[@]}"; do [[ $'\n'$output$'\n' == *$'\n'"$each"$'\n'* ]] || fail "not there: $each"; done
  for each in "${gone[@]}"; do ! grep -q "^declare -x ${each%=*}=" "$WORK/exported" || fail "still there: $each"; done
  said 'warning: TMPDIR=/nowhere is not there; going on without it'

  run in_library 'for name in "${!SETTING_TYPE[@]}"; do export "$name=x"; done; clean_environment
    for name in "${!SETTING_TYPE[@]}"; do [[ -v $name ]] || echo "$name"; done'
  equal '' "$output"
}
