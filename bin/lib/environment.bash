# The Python environment: made on the first run from requirements.lock, used at once afterwards.
# shellcheck shell=bash

UV_VERSION=0.13.8 # what requirements.lock was made with
[[ -z ${FEWSHOT_VENV:-} || $FEWSHOT_VENV == /* ]] || FEWSHOT_VENV=$CALLER_DIR/$FEWSHOT_VENV
VENV=${FEWSHOT_VENV:-$ROOT/.venv}

# use_environment [gpu] [modelscope] [demo] [dev]: make or complete the environment with these parts, and put it on PATH.
use_environment() {
  environment_is_there "$@" || _make_environment "$@"
  export PATH=$VENV/bin:$PATH
  export PYTHONNOUSERSITE=1 PYTHONPATH=
  # LLaMA-Factory 0.9.5 declares vllm <= 0.11; its vLLM backend works with the pinned 0.26.0.
  export DISABLE_VERSION_CHECK=1
}

# environment_is_there [gpu] [modelscope] [demo] [dev]: with these parts, and as the lock is now. The environment's stamp
# is the hash of the lock, then the parts that are installed.
environment_is_there() {
  local have part
  _hash_lock
  [[ -f $VENV/.few-shot-sft ]] || return 1
  read -r -a have <"$VENV/.few-shot-sft" || true
  [[ ${have[0]-} == "$FEWSHOT_LOCK" ]] || return 1
  for part; do
    # What the tests need has the demo's part in it.
    [[ " ${have[*]:1} " == *" $part "* || $part == demo && " ${have[*]:1} " == *' dev '* ]] || return 1
  done
}

# _hash_lock: set FEWSHOT_LOCK, the hash of the lock and of pyproject. A script that another of ours has started has it
# from that one: a new lock (git pull) in the middle of a night does not install anything in it.
_hash_lock() {
  [[ -z ${FEWSHOT_LOCK-} ]] || return 0
  local sum
  sum=$(cat -- "$ROOT/requirements.lock" "$ROOT/pyproject.toml" | sha256sum)
  export FEWSHOT_LOCK=${sum%% *}
}

_make_environment() {
  local uv python arguments=() parts=("$@") part old
  mkdir -p -- "$(dirname -- "$VENV")"
  exec 8>"$VENV.lock"
  flock -n 8 || {
    say "environment: another process is installing it; waiting"
    flock 8
  }
  if environment_is_there "$@"; then
    exec 8>&-
    return
  fi
  say "environment: installing the pinned packages into $(short "$VENV") (about 6 GB; once)"
  uv=$(_find_uv)
  if [[ -x $VENV/bin/python ]]; then
    # What an earlier run asked for stays installed: `bin/test.sh` after `bin/sweep.sh` adds, never removes.
    old=()
    [[ ! -f $VENV/.few-shot-sft ]] || read -r -a old <"$VENV/.few-shot-sft" || true
    for part in "${old[@]:1}"; do
      [[ " ${parts[*]-} " == *" $part "* ]] || parts+=("$part")
    done
    rm -f -- "$VENV/.few-shot-sft"
  else
    python=$(_find_python)
    "$uv" venv --quiet --allow-existing --python "$python" -- "$VENV" ||
      die "no environment could be made in $VENV; the message above says why"
  fi
  for part in "${parts[@]}"; do
    case $part in
    gpu | modelscope | demo) arguments+=(--extra "$part") ;;
    dev) arguments+=(--group dev) ;;
    esac
  done
  # The lock is a file of constraints: it pins every package, transitive ones too, and uv checks their hashes; it
  # names no index, so that a mirror (UV_DEFAULT_INDEX, PIP_INDEX_URL's sister) serves as well.
  # Bytecode is compiled here once, of py/ too: otherwise each llamafactory-cli start costs 35 s instead of 12 s, where
  # PYTHONDONTWRITEBYTECODE is set.
  (cd -- "$ROOT" && VIRTUAL_ENV=$VENV "$uv" pip install --quiet --compile-bytecode \
    --constraints requirements.lock --requirements pyproject.toml "${arguments[@]}") ||
    die "the packages could not be installed; check the network and the free disk (df -h), behind a firewall set UV_DEFAULT_INDEX to a mirror, and run the same command again"
  "$VENV/bin/python" -m compileall -q "$ROOT/py" >/dev/null || true # not there yet in the image, or read-only
  printf '%s\n' "$FEWSHOT_LOCK${parts[*]:+ ${parts[*]}}" >"$VENV/.few-shot-sft"
  exec 8>&-
  say "environment: ready"
}

# _find_uv: uv on PATH, or our own copy of it, installed from the package index with Python's pip.
_find_uv() {
  if command -v uv; then return; fi
  local home=$VENV.uv python
  if [[ ! -x $home/bin/uv ]]; then
    say "environment: uv is not on PATH; installing uv $UV_VERSION into $(short "$home")"
    python=$(command -v python3) ||
      die "neither uv nor python3 is there; install uv (docs.astral.sh/uv) or Python 3.12 and run the same command again"
    rm -rf -- "$home"
    { "$python" -m venv "$home" && "$home/bin/pip" install --quiet --disable-pip-version-check "uv==$UV_VERSION"; } >&2 ||
      die "uv could not be installed; on Debian and Ubuntu \`apt-get install python3-venv\` may be missing"
  fi
  printf '%s\n' "$home/bin/uv"
}

# _find_python: PYTHON if it is set, else the first 3.12, else 3.11, on PATH or among pyenv's; else what uv can fetch.
_find_python() {
  local minor candidate
  if [[ -n ${PYTHON:-} ]]; then
    _is_python "$PYTHON" 12 || _is_python "$PYTHON" 11 || die "PYTHON=$PYTHON is not Python 3.12 or 3.11"
    command -v "$PYTHON"
    return
  fi
  for minor in 12 11; do
    for candidate in "python3.$minor" python3 "${PYENV_ROOT:-$HOME/.pyenv}/versions/3.$minor".*/bin/python3; do
      if _is_python "$candidate" "$minor"; then
        command -v "$candidate"
        return
      fi
    done
  done
  printf '3.12'
}

# _is_python COMMAND MINOR: it is there, and it is Python 3.MINOR.
_is_python() { "$1" -c "import sys; sys.exit(sys.version_info[:2] != (3, $2))" 2>/dev/null; }
