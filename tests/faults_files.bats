#!/usr/bin/env bats
# The fault matrix: full disks, read-only folders, damaged files, a clock that goes backwards, a trainer that fails.

load helpers/faults
status='' output=''

# disk FOLDER SIZE: FOLDER is a small file system of its own, which the test can fill and seal. It is mounted for one
# process only, which ends with the test, and reached by way of that process: nothing can be left mounted. Skips the
# test where that is not permitted. Sets DISK, the folder's path from outside.
disk() {
  local answer='' way=(unshare --mount)
  ((EUID == 0)) || way+=(--map-root-user)
  coproc DISK_KEEPER {
    exec setpriv --pdeathsig KILL "${way[@]}" bash -c 'mount -t tmpfs -o "size=$2" few-shot "$1" && echo ok || echo no
      while IFS= read -r line; do eval "$line" && echo ok || echo no; done' _ "$1" "$2" 2>/dev/null 3>&-
  }
  mkdir -p -- "$1"
  DISK_PID=$DISK_KEEPER_PID DISK_ASK=${DISK_KEEPER[1]} DISK_SAYS=${DISK_KEEPER[0]}
  read -r -t 60 -u "$DISK_SAYS" answer || true
  disown "$DISK_PID"
  DISK=/proc/$DISK_PID/root$1
  [[ $answer == ok && -w $DISK ]] || skip 'a file system can be mounted neither as root nor in a user namespace here'
}

# disk_is STATE: ro or rw. Read-only by way of a second mount above the first, for a file system that has files open for
# writing, as that of a sweep has, cannot be made so.
disk_is() {
  local answer='' folder
  printf -v folder %q "${DISK#"/proc/$DISK_PID/root"}"
  case $1 in
  ro) echo "mount --bind $folder $folder && mount -o remount,bind,ro $folder" >&"$DISK_ASK" ;;
  rw) echo "umount $folder" >&"$DISK_ASK" ;;
  esac
  read -r -t 60 -u "$DISK_SAYS" answer
  [[ $answer == ok ]]
}

# disk_for PHASE [UNWRITTEN]: the folder that the phase writes to is such a disk. What is there already is copied to it.
disk_for() {
  local name setting
  case $1 in
  data) name=data setting=DATA_DIR ;;
  training | 'base model') name=saves setting=SAVES_DIR ;;
  *)
    name=objs setting=OBJS_DIR
    # shellcheck disable=SC2034 # for undamaged
    UNWRITTEN=${2-1} # the summary, too
    ;;
  esac
  mkdir -p -- "$WORK/disk" "$WORK/$name"
  disk "$WORK/disk" 2m
  cp -r -- "$WORK/$name" "$DISK/"
  rm -r -- "${WORK:?}/$name"
  ln -s -- "$DISK/$name" "$WORK/$name"
  setting "$setting='$DISK/$name'"
}

fill() { head -c 3000000 /dev/zero >"$DISK/filler" 2>/dev/null || true; }

fault 'disk full' 'data, training, evaluation, results' disk_full
disk_full() {
  before "$1"
  disk_for "$1"
  case $1 in
  data) HOLD=build_data.py begin py/build_data.py ;;
  training)
    plan train-4 wait
    begin 'train 4'
    ;;
  evaluation) HOLD=eval.py begin py/eval.py ;;
  results) HOLD=see_results.py begin py/see_results.py ;;
  esac
  fill
  release
  finished
  ((status != 0)) || fail 'it ended with 0'
  said 'the disk is full; free some space'
  rm -- "$DISK/filler"
  recovers
}

fault 'disk full in the middle of the answers' evaluation disk_full_midway
disk_full_midway() {
  # A page of the file system has to be filled: answers of one long label.
  local label
  printf -v label '%0500d' 0
  setting TRAIN_FILE="'$WORK/long.csv'"
  sed "s/Stones and Sand/Stones $label/g" "$WORK/rows.csv" >"$WORK/long.csv"
  mkdir -p -- "$WORK/disk"
  disk "$WORK/disk" 2m
  ln -s -- "$DISK/objs" "$WORK/objs"
  setting "OBJS_DIR='$DISK/objs'"
  plan api-4 held=3
  begin 'api 4'
  fill
  release
  finished
  status_is 1
  said 'the disk is full; free some space'
  UNWRITTEN=1 undamaged
  [[ ! -e $OBJS/demo-llm_train_4.json ]] || fail 'it looks finished'
  [[ $(wc -l <"$OBJS/demo-llm_train_4.predictions.jsonl") -gt 2 ]] || fail 'it was full from the beginning'
  rm -- "$DISK/filler"
  script sweep.sh
  status_is 0
  nothing_left
  evaluated 4
}

fault 'read-only folder' 'data, training, evaluation, results' read_only
read_only() {
  before "$1"
  disk_for "$1" before # it cannot be removed either
  disk_is ro
  script sweep.sh
  ((status != 0)) || fail 'it ended with 0'
  [[ $output == *read-only* || $output == *'cannot be written'* ]] || fail "not said why:" "$output"
  not_said Traceback
  disk_is rw
  recovers
}

fault 'folder becomes read-only in the middle' 'data, training, evaluation, results' becomes_read_only
becomes_read_only() {
  before "$1"
  disk_for "$1"
  case $1 in
  data) HOLD=build_data.py begin py/build_data.py ;;
  training)
    plan train-4 held=training_loss.png # all that is left is to check and to record it
    begin 'train 4'
    ;;
  evaluation) HOLD=eval.py begin py/eval.py ;;
  results) HOLD=see_results.py begin py/see_results.py ;;
  esac
  disk_is ro
  release
  finished
  ((status != 0)) || fail 'it ended with 0'
  disk_is rw
  recovers
}

# trainer_fails PHASE BEHAVIOUR REASON: the size has failed and says why; the rerun is a training like any other.
trainer_fails() {
  LATER=gone before "$1"
  plan train-4 "$2"
  script sweep.sh
  status_is 1
  said "size 4: training failed: $3"
  undamaged
  [[ ! -e $OBJS/demo-llm_train_4.json ]] || fail 'it looks evaluated'
  cp -r -- "$UNDISTURBED/objs/." "$OBJS/" # as before(): it counts only when the training is the same
  script sweep.sh
  as_undisturbed
}
fault 'trainer crashes' training trainer_fails crash 'the trainer ended with status 1: ValueError: bad luck'
fault 'trainer runs out of memory' training trainer_fails memory 'CUDA out of memory'
fault 'trainer finds the disk full' training trainer_fails disk 'the disk is full'
fault 'trainer ends well with other examples' training trainer_fails count=3 'the trainer had 3 examples, not 4'
fault 'loss of 0 all along' training trainer_fails zero 'the loss is exactly 0 at step 1'
fault 'loss becomes nan in the middle' training trainer_fails breaks 'the loss is nan at step 2'
fault 'trainer hangs' training trainer_hangs
trainer_hangs() {
  setting TRAIN_STALL=5
  trainer_fails "$1" midway 'the trainer has been silent for 5 s'
}
fault 'trainer leaves a deaf child' training leaves_child
leaves_child() {
  before "$1"
  setting STOP_TIMEOUT=1
  plan train-4 child
  script sweep.sh
  status_is 0
  recovers
}

# clock_of_ours: with LD_PRELOAD=$LIBRARY the clock, for everything that the sweep starts, is off by what the file CLOCK
# says; see stubs/clock.c.
clock_of_ours() {
  LIBRARY=$BATS_RUN_TMPDIR/clock.so
  command -v cc >/dev/null || skip 'no C compiler here, to build the clock that goes backwards'
  [[ -e $LIBRARY ]] || cc -shared -fPIC -o "$LIBRARY" "$PROJECT/tests/stubs/clock.c" -ldl
  export CLOCK=$WORK/clock
  echo 0 >"$CLOCK"
}

fault 'clock goes back an hour' 'data, training, server start, evaluation, results' clock_back
clock_back() {
  clock_of_ours
  LD_PRELOAD=$LIBRARY enter "$1"
  echo -3600 >"$CLOCK"
  release
  finished
  status_is 0
  not_said 'ended with status'
  local folder
  ! grep -rnE '"[a-z_]*seconds[a-z_]*": -' "$WORK/saves" "$OBJS" --include '*.json' || fail 'a negative time is recorded'
  as_undisturbed
  once
  recovers
}

fault 'clock goes back an hour, a child is deaf to TERM' 'training' clock_back_deaf
clock_back_deaf() {
  clock_of_ours
  before "$1"
  setting STOP_TIMEOUT=2
  plan train-4 stubborn
  LD_PRELOAD=$LIBRARY begin 'train 4'
  signal TERM
  reached 'train 4 was told to end'
  echo -3600 >"$CLOCK"
  ended 143
  recovers
}
