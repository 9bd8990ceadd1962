#!/usr/bin/env bats
# Sweeps that are killed with SIGKILL at random moments and run again until they are done: each ends as if nothing had
# happened. The real scripts, evaluator and results, a stubbed trainer and server.
#
# KILL_SEED and KILL_SWEEPS choose other moments and another number. The moments are drawn from the seed; which
# instruction of which process one hits is chance, and that is the point: this is the one test that waits by the clock.

load helpers/faults

KILL_SEED=${KILL_SEED:-20240731}
KILL_SWEEPS=${KILL_SWEEPS:-8}

# sleep_ms N
sleep_ms() {
  local seconds
  printf -v seconds '%d.%03d' $(($1 / 1000)) $(($1 % 1000))
  read -r -t "$seconds" <> <(:) || true
}

# one_sweep NUMBER MOMENT...: kill it at each of the moments (milliseconds after its start), then run it to its end.
# Prints a line; returns 1 when it did not end like the undisturbed one.
one_sweep() {
  local number=$1 moment killed=() tries=0 place
  shift
  BATS_TEST_TMPDIR=$BATS_TEST_TMPDIR/$number
  mkdir -- "$BATS_TEST_TMPDIR"
  setup
  for moment; do
    start sweep.sh
    sleep_ms "$moment"
    gone "$STARTED" && break
    disown "$STARTED"
    kill -KILL "$STARTED" 2>/dev/null || break
    place=$(sed -nE 's/^[0-9:]+ (data|training|evaluation|results): done.*/after \1/p; s/.*size 4: (training|starting the server|evaluating) .*/\1/p
      s/^size 4: trained.*/trained/p; s/^size 4: accuracy.*/scored/p' "$WORK/output" | tail -n 1)
    killed+=("${moment} ms (${place:-at the start})")
    # The rerun comes at once, or when the kernel has ended what was left: every other sweep.
    ((number % 2)) || patiently nothing_runs || return 1
  done
  until script sweep.sh && ((status == 0)); do
    tries=$((tries + 1))
    ((tries < 4)) || {
      echo "sweep $number: killed at ${killed[*]}: does not end well:" "$output"
      end_leftovers
      return 1
    }
    patiently nothing_runs || return 1
  done
  if ! (patiently nothing_runs && as_undisturbed && once) >"$WORK/verdict" 2>&1; then
    echo "sweep $number: killed at ${killed[*]}: $(<"$WORK/verdict")"
    end_leftovers
    return 1
  fi
  echo "sweep $number: killed ${#killed[@]} times: ${killed[*]}"
  rm -rf -- "$BATS_TEST_TMPDIR"
}

# lane NUMBER DURATION: every LANES-th sweep, one after the other.
lane() {
  local number count index moments failed=0
  export PORT_AT=$(($1 * 700))
  for ((number = 0; number < KILL_SWEEPS; number++)); do
    # Drawn for all sweeps in every lane, so that a sweep's moments do not depend on the lanes.
    count=$((1 + RANDOM % 3)) moments=()
    for ((index = 0; index < 3; index++)); do moments+=($((RANDOM * $2 / 32768))); done
    ((number % LANES == $1)) || continue
    (one_sweep "$number" "${moments[@]:0:count}") || failed=1
  done
  return "$failed"
}
# So many at a time: a sweep waits now and then, so that 2 cores have time for 4.
LANES=4

@test "sweeps killed at random moments, and run again until done, end as the undisturbed one" {
  local begun duration number lanes=() failed=0
  begun=${EPOCHREALTIME//./}
  script sweep.sh
  status_is 0
  duration=$(((${EPOCHREALTIME//./} - begun) / 1000))
  mkdir "$BATS_TEST_TMPDIR/said"
  for ((number = 0; number < LANES; number++)); do
    (
      RANDOM=$KILL_SEED # each seeds the generator for itself
      lane "$number" "$duration"
    ) >"$BATS_TEST_TMPDIR/said/$number" 2>&1 &
    lanes+=($!)
  done
  for number in "${lanes[@]}"; do wait "$number" || failed=1; done
  {
    echo "# seed $KILL_SEED, $KILL_SWEEPS sweeps, an undisturbed one takes $duration ms"
    sort -t' ' -k2n "$BATS_TEST_TMPDIR"/said/* | sed 's/^/# /'
    echo "# $(cat "$BATS_TEST_TMPDIR"/said/* | grep -oE ' ms \(' | wc -l) kills in all, $(((${EPOCHREALTIME//./} - begun) / 1000000)) s"
  } >&3
  ((failed == 0)) || fail "$(cat "$BATS_TEST_TMPDIR"/said/*)"
}
