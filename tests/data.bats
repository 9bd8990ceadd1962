#!/usr/bin/env bats
# bin/build_data.sh: the settings reach py/build_data.py, and a failure harms nothing that is there.

load helpers/common
load helpers/processes

setup() { make_work; }
teardown() { end_leftovers; }

@test "a CSV file in the caller's folder; the same settings give the same bytes" {
  cd "$WORK"
  script build_data.sh --train-file rows.csv --sizes 8 4 --test-count 9
  status_is 0
  equal '4 8 9' "$(for split in train_4 train_8 test; do value "$WORK/data/manifest.json" splits llm_$split rows; done | paste -sd' ')"
  equal "$WORK/rows.csv" "$(value "$WORK/data/manifest.json" source files train path)"
  local before
  before=$(sha256sum data/*)
  script build_data.sh --train-file rows.csv --sizes 8 4 --test-count 9
  status_is 0
  said "data: up to date ($WORK/data)"
  equal "$before" "$(sha256sum data/*)"
}

@test "what is between the fields and the encoding: found and said, or as the settings have it" {
  { printf 'text;label\n' && printf 'Stück %s für Müller;A\nStück %s für Maier;B\n' {1..40}; } | iconv -f utf-8 -t cp1252 >"$WORK/de.csv"
  script build_data.sh --train-file "$WORK/de.csv" --sizes 4
  status_is 0
  said "data: $WORK/de.csv: 40 rows, read as ;-separated, cp1252"
  equal cp1252 "$(value "$WORK/data/manifest.json" source read_as train encoding)"
  ENCODING=utf-8 script build_data.sh --train-file "$WORK/de.csv" --sizes 4
  status_is 2
  said 'not utf-8; leave ENCODING empty'
  DELIMITER='|' script build_data.sh --train-file "$WORK/de.csv" --sizes 4
  status_is 2
  said 'no column "text"; the columns are "text;label"'
}

@test "a dry run: its status tells whether there is something to do" {
  script build_data.sh --dry-run
  status_is 3
  said 'data llm_train_4.json: to do, not there' '    python py/build_data.py'
  [[ ! -e $WORK/data ]]
  script build_data.sh
  script build_data.sh --dry-run
  status_is 0
  equal "data: done ($WORK/data)" "$output"
}

@test "what the user can mend: said, exit status 2, the data of before stay as they are" {
  script build_data.sh
  local before
  before=$(sha256sum "$WORK"/data/*)
  script build_data.sh --sizes 4 1000
  status_is 2
  said 'error: ' 'rows to train on (of 60 rows: ' 'fewer than size 1000; what fits: SIZES='
  script build_data.sh --label-column kind
  status_is 2
  said 'error: ' 'kind'
  script build_data.sh --train-file "$WORK/none.csv"
  status_is 2
  equal "error: $WORK/none.csv: no such file" "$output"
  equal "$before" "$(sha256sum "$WORK"/data/*)"
}

@test "an edit of a script that runs does no harm" {
  local copy="$WORK/a copy"
  mkdir "$copy"
  cp -r -- "$PROJECT/bin" "$copy/"
  ln -s -- "$PROJECT"/{py,pyproject.toml,requirements.lock} "$copy/"
  HOLD=build_data.py PROJECT=$copy start build_data.sh
  reached py/build_data.py
  printf '%s\n' {1..60}'; echo edited' >"$WORK/edited"
  cat -- "$WORK/edited" "$PROJECT/bin/build_data.sh" >"$copy/bin/build_data.sh" # in place, as some editors do
  release
  ended 0
  said "data: wrote "
  not_said edited line
}

@test "INT, TERM and HUP end it" {
  local signal
  for signal in INT:130 TERM:143 HUP:129; do
    rm -rf "$STUB/held"
    HOLD=build_data.py start build_data.sh
    reached py/build_data.py
    signal "${signal%:*}"
    ended "${signal#*:}"
    nothing_left
  done
}

@test "the default sizes and a file of few rows: sizes that fit are taken, by every script alike" {
  sed 's/^SIZES=.*/SIZES=(100 500 1000 2000)/' "$SETTINGS_FILE" >"$WORK/default.sh"
  export SETTINGS_FILE=$WORK/default.sh
  script sweep.sh --dry-run
  status_is 0
  said 'the default SIZES (100 500 1000 2000) do not fit 42 training rows; these are taken: SIZES="10 21 42"' \
    'training of size 42: to do' 'evaluation of size 42: to do'
  not_said 'size 100'
  script sweep.sh
  status_is 0
  said 'the default SIZES (100 500 1000 2000) do not fit 42 training rows; these are taken: SIZES="10 21 42"' \
    '3 of 3 runs done'
  equal 'train 10, train 21, train 42, api 10, api 21, api 42' "$(calls)"
  script train.sh
  said "size 42: already trained"
  script results.sh
  not_said 500
  script sweep.sh --dry-run
  status_is 0
  said 'training of size 42: done' 'evaluation of size 42: done'
}
