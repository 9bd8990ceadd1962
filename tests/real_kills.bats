#!/usr/bin/env bats
# bats file_tags=end_to_end
# Sweeps of the real programs, SIGKILLed at random moments and run again until they are done: each ends as the
# undisturbed one, in accuracy, answers, records and the bytes of the adapters, and leaves no process.
#
#   KILL_REAL=40 bin/test.sh tests/real_kills.bats                   40 rounds (2 without), a minute or two each
#   KILL_SEED=7 KILL_FIRST=12 KILL_REAL=1 bin/test.sh tests/real_kills.bats     round 12 of seed 7 again
#
# A round is drawn from the seed and its number: a moment, uniform over the duration of the undisturbed sweep, and whom
# it hits, the sweep itself or one of the trainers, servers, evaluators and so on that run then; every third is hit again while
# it is run again. Every other one leaves checkpoints, every fifth begins without the base model.

load helpers/faults

KILL_REAL=${KILL_REAL:-2}
KILL_SEED=${KILL_SEED:-20261125}
KILL_FIRST=${KILL_FIRST:-0}
export RECORD_NAME=tiny RECORD_SIZES='12 24'

setup_file() { :; }
# The folder of one sweep, WORK, with its settings; the environment is the real one.
setup() {
  make_work
  # shellcheck disable=SC2034 # for the scripts: make_work exports it
  FEWSHOT_VENV=${STUB_PYTHON%/bin/python}
  cat >"$SETTINGS_FILE" <<END
SIZES=($RECORD_SIZES)
PROFILE=tiny
METHODS=lora
BASE_TEXTS=200
TEST_COUNT=6
VALID_COUNT=4
EPOCHS=20
LOGGING_STEPS=1
SAVE_STEPS=100
ADAPTER_CHECK=0
API_PORT=$PORT
DATA_DIR='$WORK/data'
SAVES_DIR='$WORK/saves'
LOGS_DIR='$WORK/logs'
OBJS_DIR='$WORK/objs'
END
}

# programs: "PID NAME" of the sweep's trainers, servers and programs of ours that run now.
programs() {
  local pid line
  for pid in $(left); do
    line=$({ tr '\0' ' ' <"/proc/$pid/cmdline"; } 2>/dev/null) || continue
    [[ ! $line =~ py/[a-z_]+\.py && ! $line =~ 'llamafactory-cli '[a-z]+ ]] || echo "$pid ${BASH_REMATCH[0]}"
  done
}

# strike MOMENT: at this moment, in ms after the start, kill the sweep, or in half of the cases one of the programs that
# run then; sets VICTIM, '' when it had ended. A sweep that goes on without what was killed is waited for.
strike() {
  local seconds others
  printf -v seconds '%d.%03d' $(($1 / 1000)) $(($1 % 1000))
  read -r -t "$seconds" <> <(:) || true
  mapfile -t others < <(programs)
  VICTIM=''
  gone "$STARTED" && return
  if ((RANDOM % 2 || ${#others[@]} == 0)); then
    VICTIM="the sweep at $1 ms"
    disown "$STARTED"
    kill -KILL "$STARTED" 2>/dev/null || true
  else
    VICTIM=${others[RANDOM % ${#others[@]}]}
    kill -KILL "${VICTIM%% *}" 2>/dev/null || true
    VICTIM="${VICTIM#* } at $1 ms"
    finished
  fi
}

# one_round NUMBER DURATION: prints a line; returns 1, and keeps the folder, when it did not end as the undisturbed one.
one_round() {
  local number=$1 tries=0 struck=() kills=1 saves kept=${TMPDIR:-/tmp}/real-kills-$KILL_SEED-$1 seen='^size [0-9]+: (resuming|starting again|its training had)'
  RANDOM=$((KILL_SEED + number))
  BATS_TEST_TMPDIR=$BATS_TEST_TMPDIR/$number
  mkdir -- "$BATS_TEST_TMPDIR"
  setup
  mkdir -p -- "$WORK/saves/tiny"
  ((number % 5 == 4)) || cp -r -- "$UNDISTURBED/saves/tiny/base" "$WORK/saves/tiny/"
  saves=$((number % 2 ? 10 : 100))
  setting SAVE_STEPS=$saves
  ((number % 4 != 3)) || setting ADAPTER_CHECK=1
  ((number % 3 != 2)) || kills=2
  while ((kills-- > 0)); do
    start sweep.sh
    strike $(($2 * RANDOM / 32768))
    [[ -n $VICTIM ]] || break
    struck+=("${struck[0]+and }$VICTIM")
    cp -- "$WORK/output" "$WORK/output.$kills"
    # The rerun comes at once, or when the kernel has ended what was left.
    ((RANDOM % 2)) || patiently nothing_runs || break
  done
  until script sweep.sh && ((status == 0)) || ((tries++ == 3)); do patiently nothing_runs || break; done
  if ((status == 0)) && (patiently nothing_runs && nothing_left && records same "$UNDISTURBED" && records summary 0 && once) >"$WORK/verdict" 2>&1; then
    echo "round $number, SAVE_STEPS=$saves: killed ${struck[*]-nothing}; $(grep -hE "$seen|in the middle of saving" "$WORK"/output* | paste -sd';')"
    rm -rf -- "$BATS_TEST_TMPDIR"
    return
  fi
  end_leftovers
  mv -- "$BATS_TEST_TMPDIR" "$kept"
  echo "round $number, SAVE_STEPS=$saves: killed ${struck[*]-nothing}: NOT AS THE UNDISTURBED ONE ($kept):" "$output" "$(cat "$kept"/*/verdict)"
  return 1
}

@test "real sweeps killed at random moments, and run again until done, end as the undisturbed one" {
  local duration number failed=()
  script base_model.sh
  status_is 0
  duration=${EPOCHREALTIME//./}
  script sweep.sh
  status_is 0
  duration=$(((${EPOCHREALTIME//./} - duration) / 1000))
  UNDISTURBED=$BATS_TEST_TMPDIR/undisturbed
  mkdir -- "$UNDISTURBED"
  mv -- "$WORK/data" "$WORK/saves" "$WORK/objs" "$UNDISTURBED/"
  echo "# seed $KILL_SEED, rounds $KILL_FIRST to $((KILL_FIRST + KILL_REAL - 1)), the undisturbed sweep takes $duration ms" >&3
  for ((number = KILL_FIRST; number < KILL_FIRST + KILL_REAL; number++)); do
    (one_round "$number" "$duration") >"$BATS_TEST_TMPDIR/said" 2>&1 || failed+=("$number")
    sed 's/^/# /' "$BATS_TEST_TMPDIR/said" >&3
  done
  ((${#failed[@]} == 0)) || fail "not as the undisturbed one: rounds ${failed[*]}"
}
