#!/usr/bin/env bats
# bin/train.sh: the commands, what counts as trained, what is skipped, what is done again.

load helpers/common
load helpers/processes

setup() { make_work; }
teardown() { end_leftovers; }

# reason SIZE: why its record says that it has failed.
reason() { value "$ADAPTERS/demo-llm_train_$1/training.json" reason; }

@test "every size in the order of settings.sh, with the original's command flag by flag" {
  with_data
  sed 's/^SIZES=.*/SIZES=(8 4)/' "$PROJECT/settings.sh" >"$SETTINGS_FILE"
  plan train-4 exit
  plan train-8 exit
  export DATA_DIR=$WORK/data SAVES_DIR=$WORK/saves LOGS_DIR=$LOGS GPU=bf16
  # What the cache says the model's newest revision is.
  local commit hub=$WORK/hf/hub/models--zai-org--glm-4-9b-chat-hf
  printf -v commit 'a%.0s' {1..40}
  export HF_HOME=$WORK/hf HF_HUB_OFFLINE=1
  mkdir -p -- "$hub/snapshots/$commit" "$hub/refs"
  cp -- "$WORK/a model"/* "$hub/snapshots/$commit"
  printf %s "$commit" >"$hub/refs/main"
  script train.sh --profile glm4-9b-chat --trainer llamafactory-cli
  status_is 1
  local size folder expected=''
  for size in 8 4; do
    folder=$WORK/saves/GLM-4-9B-Chat/lora/glm4-9b-chat-llm_train_$size
    printf -v expected '%sCUDA_VISIBLE_DEVICES=0%s\n' "$expected" "$(printf ' %q' train \
      --stage sft --do_train True --model_name_or_path zai-org/glm-4-9b-chat-hf --model_revision "$commit" --preprocessing_num_workers 16 \
      --finetuning_type lora --template glm4 --flash_attn auto --dataset_dir "$WORK/data" --dataset "llm_train_$size" \
      --cutoff_len 1024 --learning_rate 5e-05 --num_train_epochs 3.0 --max_samples 100000 \
      --per_device_train_batch_size 2 --gradient_accumulation_steps 4 --lr_scheduler_type cosine --max_grad_norm 1.0 \
      --logging_steps 5 --save_steps 100 --warmup_steps 0 --optim adamw_torch --packing False --report_to none \
      --output_dir "$folder" --bf16 True --plot_loss True --ddp_timeout 180000000 \
      --include_num_input_tokens_seen True --lora_rank 8 --lora_alpha 16 --lora_dropout 0 --lora_target all \
      --seed 42 --save_total_limit 2 --tokenized_path "$folder/tokenized" --logging_steps 1)"
  done
  equal "${expected%$'\n'}" "$(<"$STUB/calls")"
}

@test "TRAINER=fast: LLaMA-Factory's training by our script, without what waits for the GPU; the plan's settings" {
  with_data
  plan train-4 exit
  script train.sh --sizes 4 --trainer fast --micro-batch 8 --checkpointing 0 --quantization 4 --eval-steps 9
  status_is 1
  local flags
  flags=$(<"$STUB/calls")
  for expected in '--per_device_train_batch_size 8 --gradient_accumulation_steps 1 ' '--optim adamw_torch_fused ' \
    '--include_num_input_tokens_seen False ' '--disable_gradient_checkpointing True ' '--quantization_bit 4 ' \
    '--logging_nan_inf_filter False' '--shared_prefix auto' '--per_device_eval_batch_size 1 '; do
    [[ $flags == *"$expected"* ]] || fail "no '$expected' in: $flags"
  done
  plan train-4 exit
  script train.sh --sizes 4 --train-args '--max_steps=5 --report_to a=b --bare'
  status_is 1
  [[ $(tail -n 1 "$STUB/calls") == *' --max_steps 5 --report_to a=b --bare' ]]
  plan train-4 exit
  script train.sh --sizes 4 --trainer fast --micro-batch 8 --shared-prefix=0
  status_is 1
  [[ $(tail -n 1 "$STUB/calls") != *shared_prefix* ]]
  script train.sh --micro-batch 3
  status_is 2
  equal 'error: MICRO_BATCH=3 does not divide the global batch, BATCH_SIZE x GRADIENT_ACCUMULATION = 8' "$output"
}

@test "every training setting reaches the command" {
  with_data
  plan train-4 exit
  script train.sh --sizes 4 --cutoff-len 77 --learning-rate 1e-3 --epochs 2 --batch-size 5 --gradient-accumulation 6 \
    --warmup-steps 0.1 --logging-steps 7 --save-steps 8 --lora-rank 9 --lora-alpha 10 --lora-target q_proj,v_proj \
    --eval-steps 9 --precision bf16 --preprocessing-workers 12 --train-args '--quantization_bit 4 --packing True'
  status_is 1
  local flags
  flags=$(<"$STUB/calls")
  for expected in 'CUDA_VISIBLE_DEVICES= train' '--cutoff_len 77 ' '--learning_rate 1e-3 ' '--num_train_epochs 2 ' \
    '--per_device_train_batch_size 5 ' '--gradient_accumulation_steps 6 ' '--warmup_steps 0.1 ' '--logging_steps 7 ' \
    '--save_steps 8 ' '--lora_rank 9 ' '--lora_alpha 10 ' '--lora_target q_proj\,v_proj ' '--bf16 True --use_cpu True ' \
    '--preprocessing_num_workers 12 ' '--eval_dataset llm_valid --eval_strategy steps --eval_steps 9 ' \
    '--per_device_eval_batch_size 5 --quantization_bit 4 --packing True'; do
    [[ $flags == *"$expected"* ]] || fail "no '$expected' in: $flags"
  done
}

@test "a trained size has a record with the trainer's own numbers, and is skipped" {
  with_adapters
  local record=$ADAPTERS/demo-llm_train_8/training.json
  equal '2 training done demo-llm_train_8 demo a_model lora 8 42 8' \
    "$(values "$record" schema kind status run name model method size seed examples)"
  equal '3.0 1.0' "$(value "$record" loss first) $(value "$record" loss last)"
  equal '1024 0' "$(value "$record" tokens cutoff) $(value "$record" tokens truncated)"
  equal 'False glm4 absent' \
    "$(value "$record" settings packing) $(value "$record" settings template) $(value "$record" reason)"
  cd "$BATS_TEST_TMPDIR"
  script train.sh
  status_is 0
  equal "$(for size in 4 8 16; do echo "size $size: already trained ($ADAPTERS/demo-llm_train_$size)"; done)" "$output"
  equal '' "$(calls)"
  [[ ! -e $ADAPTERS/demo-llm_train_8/tokenized ]] # it would be trained on again whatever the data
}

@test "SEEDS: each size with each seed; seed 42 keeps the original's names; a longer list trains only what is new" {
  with_adapters
  local size
  for size in 4 8; do
    sed 's/word/another/' "$WORK/data/llm_train_$size.json" >"$WORK/data/llm_train_$size-seed1.json"
    sed -i "s/^{/{\"llm_train_$size-seed1\": {\"file_name\": \"llm_train_$size-seed1.json\"},/" "$WORK/data/dataset_info.json"
  done
  script train.sh --sizes 4 8 --seeds 42 1
  status_is 0
  said 'size 8: already trained' 'size 4, seed 1: trained on 4 examples' 'size 8, seed 1: trained on 8 examples'
  equal 'train 4-seed1, train 8-seed1' "$(calls)"
  [[ $(tail -n 1 "$STUB/calls") == *" --dataset llm_train_8-seed1 "*"/demo-llm_train_8-seed1 "*' --seed 1 '* ]]
  equal '8 1' "$(values "$ADAPTERS/demo-llm_train_8-seed1/training.json" size seed)"
}

@test "a size that fails in the middle: the others are trained, it looks failed, and the next run does it alone" {
  with_data
  plan train-8 crash
  script train.sh
  status_is 1
  said "size 8: training failed: the trainer ended with status 1: ValueError: bad luck (log: $LOGS/demo-llm_train_8.train.log)" \
    "--- last lines of $LOGS/demo-llm_train_8.train.log" 'training failed: size 8' \
    'size 16: trained on 16 examples, loss '
  equal 'train 4, train 8, train 16' "$(calls)"
  equal 'done failed done' "$(for size in 4 8 16; do value "$ADAPTERS/demo-llm_train_$size/training.json" status; done | paste -sd' ')"
  equal 'the trainer ended with status 1: ValueError: bad luck' "$(reason 8)"
  : >"$STUB/calls"
  script train.sh
  status_is 0
  said 'size 4: already trained' 'size 16: already trained' 'size 8: starting again, there is no checkpoint yet' 'size 8: trained on 8 examples'
  equal 'train 8' "$(calls)"
  equal 'done absent' "$(value "$ADAPTERS/demo-llm_train_8/training.json" status) $(reason 8)"
}

@test "an interrupted training goes on from its last whole checkpoint; under nohup no HUP interrupts" {
  with_data
  plan train-4 midway
  start train.sh --sizes 4
  reached 'train 4'
  signal TERM
  ended 143
  nothing_left
  [[ ! -e $ADAPTERS/demo-llm_train_4/training.json ]]
  plan train-4 wait
  IGNORE=HUP start train.sh --sizes 4
  reached 'train 4'
  signal HUP
  # What was torn, and what was logged after the last whole checkpoint, is gone before the trainer looks.
  [[ -d $ADAPTERS/demo-llm_train_4/checkpoint-2 && ! -e $ADAPTERS/demo-llm_train_4/checkpoint-4 ]]
  equal 2 "$(wc -l <"$ADAPTERS/demo-llm_train_4/trainer_log.jsonl")"
  release
  ended 0
  said 'size 4: resuming at step 2' 'size 4: trained on 4 examples'
  equal 'done' "$(value "$ADAPTERS/demo-llm_train_4/training.json" status)"
}

@test "TRAIN_JOBS=2: two at a time, the largest first; each has its own log" {
  with_data
  plan train-16 wait
  plan train-8 wait
  plan train-4 crash
  start train.sh --train-jobs 2
  reached_both 'train 16' 'train 8'
  [[ $(calls) != *'train 4'* ]] || fail "a third one runs: $(calls)"
  release
  release
  ended 1
  said 'training failed: size 4' 'size 16: trained on 16 examples' 'size 8: trained on 8 examples'
  [[ $(<"$LOGS/demo-llm_train_16.train.log") == *'stub: train of size 16: wait'* ]]
  nothing_left
}

@test "a process that a trainer leaves behind is ended before the next size, if need be by KILL" {
  with_data
  plan train-4 child
  plan train-8 exit
  script train.sh --sizes 4 8 --stop-timeout 1
  status_is 1
  said 'warning: the training of size 4 did not end within 1 s of TERM; killing it' 'size 4: trained on 4 examples'
  [[ $output == *'killing it'*'size 8: training'* ]] || fail "not in this order: $output"
  nothing_left
}

@test "INT, TERM and HUP end the trainer and whatever it started, also when it is deaf to TERM" {
  with_data
  local signal
  for signal in INT:130 TERM:143 HUP:129; do
    plan train-4 stubborn
    start train.sh --stop-timeout 1
    reached 'train 4'
    signal "${signal%:*}"
    ended "${signal#*:}"
    said 'warning: the training of size 4 did not end within 1 s of TERM; killing it'
    nothing_left
    [[ ! -e $ADAPTERS/demo-llm_train_4/training.json ]] || fail 'it looks finished'
  done
  plan train-16 wait
  plan train-8 wait
  start train.sh --train-jobs 2
  reached_both 'train 16' 'train 8'
  signal INT
  ended 130
  nothing_left
}

@test "precision: bf16 where the GPU has it, else fp16 and a warning for GLM-4; no GPU is told before anything starts" {
  with_data
  plan train-4 exit exit
  export GPU=bf16
  script train.sh --sizes 4 --device gpu
  [[ $(<"$STUB/calls") == 'CUDA_VISIBLE_DEVICES=0 train '*' --bf16 True '* ]]
  not_said overflows
  CUDA_VISIBLE_DEVICES=0,7 script train.sh --sizes 4 --device gpu
  status_is 2
  equal 'error: CUDA_VISIBLE_DEVICES=0,7 names 2 GPU(s), and PyTorch sees 1 of them; compare with nvidia-smi -L' "$output"
  GPU=fp16
  : >"$STUB/calls"
  CUDA_VISIBLE_DEVICES=1 script train.sh --sizes 4 --device gpu
  [[ $(<"$STUB/calls") == 'CUDA_VISIBLE_DEVICES=1 train '*' --fp16 True '* ]]
  said 'warning: GLM-4 overflows in fp16 (loss 0 or nan); use a GPU with bf16'
  : >"$STUB/calls"
  script train.sh --sizes 4 --device gpu --precision bf16
  status_is 2
  said 'error: PRECISION=bf16 is asked for and this GPU has none; use PRECISION=auto'
  GPU=none
  script train.sh --sizes 4 --device gpu
  status_is 2
  said 'error: profile custom needs a CUDA GPU and none is visible to PyTorch; check nvidia-smi' 'PROFILE=tiny bin/sweep.sh'
  equal '' "$(calls)"
}

@test "no data, no model: said once, with what mends it; a size without its file fails alone" {
  script train.sh --sizes 4 8
  status_is 2
  equal "error: $WORK/data: there is no data; make it with bin/build_data.sh" "$output"
  with_data
  script train.sh --sizes 4 8 --model "$WORK/none"
  status_is 2
  equal "error: MODEL=$WORK/none: no such folder" "$output"
  rm "$WORK/data/llm_train_4.json"
  plan train-8 exit
  script train.sh --sizes 4 8
  status_is 1
  said "error: size 4: $WORK/data/llm_train_4.json is missing; make it with bin/build_data.sh" 'training failed: size 4; size 8'
  equal 'train 8' "$(calls)"
}

@test "two at the same size at once: the second waits, and finds it trained; one that was killed is waited for" {
  with_data
  plan train-4 wait
  start train.sh --sizes 4
  reached 'train 4'
  local first=$STARTED lock=$ADAPTERS/.demo-llm_train_4.lock
  "$PROJECT/bin/train.sh" --sizes 4 --stop-timeout 0 >"$WORK/second" 2>&1 3>&- & # 30 s more
  local second=$!
  patiently grep -q 'another process is at it' "$WORK/second"
  grep -qF "size 4: another process is at it ($lock is locked); waiting up to 30 s" "$WORK/second"
  release
  wait "$first"
  wait "$second"
  grep -q 'size 4: already trained' "$WORK/second"
  equal 'train 4' "$(calls)"

  plan train-8 wait
  start train.sh --sizes 8
  reached 'train 8'
  disown "$STARTED"
  kill -KILL "$STARTED"
  script train.sh --sizes 8
  status_is 0
  said 'size 8: trained on 8 examples'
  patiently nothing_runs
}

@test "a folder that cannot be written is named before anything starts" {
  with_data
  mkdir -p "$WORK/saves" "$WORK/sealed"
  chmod 555 "$WORK/saves" "$WORK/sealed"
  # As root, without root's right to write everywhere.
  local mortal=()
  ((EUID != 0)) || mortal=(setpriv --bounding-set=-dac_override --inh-caps=-dac_override)
  "${mortal[@]}" test ! -w "$WORK/saves" || skip 'this user can write everywhere'
  run "${mortal[@]}" "$PROJECT/bin/train.sh"
  status_is 2
  equal "error: $WORK/saves: cannot be written; check its owner and mode (ls -ld) or a read-only mount, or choose another folder" "$output"
  run "${mortal[@]}" "$PROJECT/bin/train.sh" --logs-dir "$WORK/sealed/logs"
  status_is 2
  equal "error: $WORK/sealed/logs: cannot be made; check the owner and the mode of its parent (ls -ld), or choose another folder" "$output"
  run "${mortal[@]}" "$PROJECT/bin/sweep.sh" --objs-dir "$WORK/sealed"
  status_is 2
  said "error: folders: $WORK/saves cannot be written; check its owner (ls -ld) or choose another SAVES_DIR" \
    "error: folders: $WORK/sealed cannot be written; check its owner (ls -ld) or choose another OBJS_DIR" \
    'preflight: 2 problems; '
  equal '' "$(calls)"
}

@test "MATCH_STEPS: every size has as many updates as the largest, which stays as it was; records and table say so" {
  with_adapters
  setting SIZES='(8 16)'
  script train.sh --match-steps
  status_is 0
  equal 'train 8' "$(calls)"
  [[ $(<"$STUB/calls") == *' --max_steps 6'* ]]
  local record=$ADAPTERS/demo-llm_train_8/training.json
  equal '6 6 16 8' "$(value "$record" steps) $(value "$record" settings max_steps) $(value "$record" matched_to) $(value "$record" examples)"
  script eval.sh
  PLOTS=0 script results.sh --match-steps
  said 'updates: 6 for every size (MATCH_STEPS=1), so the curve shows the effect of data alone.'
  script train.sh
  status_is 0
  equal 3 "$(value "$record" steps)"
  equal absent "$(value "$record" matched_to)"
  script eval.sh
  PLOTS=0 script results.sh
  said 'updates: 3 epochs for every size, so a larger one has more of them.'
}
