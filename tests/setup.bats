#!/usr/bin/env bats
# bin/setup.sh and the environment: installed once, completed when a part is missing, never twice.

load helpers/common
load helpers/processes

setup() {
  make_work
  export FEWSHOT_VENV="$WORK/new venv"
  STAMP="$FEWSHOT_VENV/.few-shot-sft"
  SUM=$(cat "$PROJECT/requirements.lock" "$PROJECT/pyproject.toml" | sha256sum | cut -d' ' -f1)
  mkdir "$WORK/path"
  PATH="$WORK/path:$PATH"
  stub uv 'if [[ $1 == venv ]]; then mkdir -p "${@: -1}/bin"; touch "${@: -1}/bin/python"; chmod +x "${@: -1}/bin/python"; fi
    [[ ! -e $STUB/uv-fails ]]'
}

teardown() { end_leftovers; }

# stub NAME COMMANDS: a program on PATH that notes its call.
stub() {
  printf '%s\n' '#!/usr/bin/env bash' "printf '%s%s\n' $1 \"\$(printf ' %q' \"\$@\")\" >>\"\$STUB/calls\"" "$2" >"$WORK/path/$1"
  chmod +x "$WORK/path/$1"
}

# waits_for_lock: a process of this test's waits for the lock.
waits_for_lock() {
  local pid
  for pid in $(left); do [[ $(tr '\0' ' ' <"/proc/$pid/cmdline") != 'flock 8 ' ]] || return 0; done
  return 1
}

INSTALL='uv pip install --quiet --compile-bytecode --constraints requirements.lock --requirements pyproject.toml'

@test "the first run installs the pinned packages; the next does nothing; a further part is added to what is there" {
  stub python3.12 'exit 0'
  script setup.sh dev
  status_is 0
  said 'environment: installing the pinned packages into ' 'environment: ready'
  equal "uv venv --quiet --allow-existing --python $(printf %q "$WORK/path/python3.12") -- $(printf %q "$FEWSHOT_VENV")
$INSTALL --group dev" "$(grep '^uv' "$STUB/calls")"
  equal "$SUM dev" "$(<"$STAMP")"

  : >"$STUB/calls"
  script setup.sh dev
  script setup.sh
  script setup.sh demo # dev has it in it
  status_is 0
  equal '' "$output$(<"$STUB/calls")"

  script setup.sh gpu modelscope
  status_is 0
  equal "$INSTALL --extra gpu --extra modelscope --group dev" "$(<"$STUB/calls")"
  equal "$SUM gpu modelscope dev" "$(<"$STAMP")"
}

@test "another lock or pyproject.toml installs anew, with the parts that there were" {
  mkdir -p "$FEWSHOT_VENV/bin"
  touch "$FEWSHOT_VENV/bin/python"
  chmod +x "$FEWSHOT_VENV/bin/python"
  echo 'an-old-sum dev' >"$STAMP"
  script setup.sh gpu
  status_is 0
  equal "$INSTALL --extra gpu --group dev" "$(<"$STUB/calls")"
  equal "$SUM gpu dev" "$(<"$STAMP")"
  : >"$STUB/calls"
  echo "$SUM gpu" >"$STAMP"
  script setup.sh demo
  equal "$INSTALL --extra demo --extra gpu" "$(<"$STUB/calls")"
}

@test "another lock installs nothing in the middle of a sweep: what it has started knows the lock of its beginning" {
  mkdir -p "$FEWSHOT_VENV/bin"
  echo 'an-old-sum dev' >"$STAMP"
  FEWSHOT_LOCK=an-old-sum script setup.sh dev
  status_is 0
  equal '' "$output$(<"$STUB/calls")"

  run in_library 'environment_is_there dev || true; bash -c "echo \$FEWSHOT_LOCK"'
  equal "$SUM" "$output"
}

@test "an installation that fails says so, and the next run tries again" {
  touch "$STUB/uv-fails"
  PYTHON=$STUB_PYTHON script setup.sh
  status_is 2
  said "error: no environment could be made in $FEWSHOT_VENV; the message above says why"
  mkdir -p "$FEWSHOT_VENV/bin"
  script setup.sh
  status_is 2
  said 'error: the packages could not be installed; check the network and the free disk (df -h), behind a firewall set UV_DEFAULT_INDEX to a mirror'
  [[ ! -e $STAMP ]]
  rm "$STUB/uv-fails"
  : >"$STUB/calls"
  script setup.sh
  status_is 0
  equal "$INSTALL" "$(<"$STUB/calls")"
}

@test "PYTHON chooses the interpreter, and is refused when it is no 3.12 or 3.11" {
  stub python3.12 'exit 0'
  stub mine 'exit 0'
  stub old 'exit 1'
  PYTHON=mine script setup.sh
  status_is 0
  [[ $(grep '^uv venv' "$STUB/calls") == *" --python $(printf %q "$WORK/path/mine") -- "* ]]
  rm -r "$FEWSHOT_VENV"
  PYTHON=old script setup.sh
  status_is 2
  said 'error: PYTHON=old is not Python 3.12 or 3.11'
}

@test "two at once: the second waits for the first and uses what it installed" {
  mkdir -p "$WORK/new venv"
  exec {lock}>"$FEWSHOT_VENV.lock"
  flock "$lock"
  MARK="$BATS_TEST_TMPDIR" "$PROJECT/bin/setup.sh" dev >"$WORK/output" 2>&1 3>&- {lock}>&- &
  patiently waits_for_lock
  grep -q 'environment: another process is installing it; waiting' "$WORK/output"
  echo "$SUM dev" >"$STAMP"
  exec {lock}>&-
  wait $!
  equal '' "$(<"$STUB/calls")"
}

@test "without uv on PATH it is installed beside the environment, in its pinned version" {
  rm "$WORK/path/uv"
  PATH="$WORK/path:/usr/bin:/bin"
  ! command -v uv >/dev/null || skip 'uv is in /usr/bin here'
  stub python3 'if [[ $2 == venv ]]; then
      mkdir -p "$3/bin"
      printf "%s\n" "#!/usr/bin/env bash" "echo pip \"\$@\" >>\"\$STUB/calls\"; cp \"\$STUB/uv\" \"\${0%pip}uv\"" >"$3/bin/pip"
      chmod +x "$3/bin/pip"
    fi'
  stub uv 'exit 1'
  mv "$WORK/path/uv" "$STUB/uv"
  script setup.sh
  status_is 2
  said 'environment: uv is not on PATH; installing uv '
  grep -q '^pip install --quiet --disable-pip-version-check uv==[0-9.]*$' "$STUB/calls"
  grep -q '^uv venv ' "$STUB/calls"
}
