# The environment that our programs run in: bash 5.1, what is needed on PATH, three open descriptors, and of the caller's
# variables none that was meant for other programs. Sourced first; the first command is one that bash 3 can read.
# shellcheck shell=bash

if ((BASH_VERSINFO[0] * 100 + BASH_VERSINFO[1] < 501)); then
  printf 'error: bash 5.1 or newer is needed, and %s is bash %s; put a newer one first on PATH\n' "$BASH" "$BASH_VERSION" >&2
  exit 2
fi

# A closed descriptor would be given to the next file that is opened, and what is printed would end up in that.
[[ -e /dev/fd/0 ]] || exec 0</dev/null
[[ -e /dev/fd/1 ]] || exec 1>/dev/null
[[ -e /dev/fd/2 ]] || exec 2>/dev/null

# need PACKAGE PROGRAM...: add to MISSING what is not on PATH.
need() {
  local program found=()
  for program in "${@:2}"; do type -P "$program" >/dev/null || found+=("$program"); done
  ((${#found[@]} == 0)) || MISSING+="${MISSING:+, }${found[*]} (package $1)"
}

# nothing_is_missing: or say all of it, and end.
nothing_is_missing() {
  [[ -n $MISSING ]] || return 0
  printf 'error: not on PATH: %s; install it, or add its folder to PATH\n' "$MISSING" >&2
  exit 2
}

# clean_environment: unset what is not meant for us. Whole families by their prefix, for each program that reads one of
# them invents more. What a user sets for such programs on purpose stays: proxies, HF_*, MODELSCOPE_*, CUDA_*, NCCL_*,
# VLLM_*, TORCH_*, PYTORCH_*, OMP_*, UV_*, PIP_*, cache folders.
clean_environment() {
  local name foreign ours='PYTHON|USE_MODELSCOPE_HUB' # settings
  # The shell's and its tools': where `cd` goes, what is sourced first, what grep and ls print, whose history git shows.
  foreign='CDPATH|BASH_ENV|ENV|GLOBIGNORE|POSIXLY_CORRECT|GREP_*|QUOTING_STYLE|LANGUAGE'
  foreign+='|GIT_DIR|GIT_WORK_TREE|GIT_INDEX_FILE|GIT_COMMON_DIR|GIT_OBJECT_DIRECTORY'
  # Other modules for Python, no asserts, warnings that are errors, another encoding; other pictures.
  foreign+='|PYTHON*|MPLBACKEND|MATPLOTLIBRC'
  # To whom texts, answers and losses would be sent, and with whose key.
  foreign+='|LANGSMITH_*|LANGCHAIN_*|OPENAI_*|OTEL_*|WANDB_*|SWANLAB_*|MLFLOW_*|COMET_*|CLEARML_*|TRACKIO_*|NEPTUNE_*'
  foreign+='|DVCLIVE_*|TENSORBOARD_*|KUBEFLOW_*'
  # How a training of other work is distributed. Each of ours is one process.
  foreign+='|RANK|@(LOCAL|NODE|GROUP|ROLE)_RANK|?(*_)WORLD_SIZE|MASTER_@(ADDR|PORT)|?(M??_)NNODES|NPROC_PER_NODE|RDZV_*'
  foreign+='|MAX_RESTARTS|TORCHELASTIC_*|ACCELERATE_*|FSDP_*|DEEPSPEED_*|MEGATRON_*|PARALLELISM_CONFIG_*|FP8_*|PMI_*'
  foreign+='|OMPI_*|MV2_*|MPI_*|SM_*|SMDATAPARALLEL_*|RAY_*|VLLM_DP_*|XLA_*|PJRT_*|TPU_*'
  # LLaMA-Factory's switches: other trainers, misspelled flags that are passed over, fewer lines in the log, its server.
  foreign+='|FORCE_*|USE_*|ALLOW_*|OPTIM_TORCH|RECORD_VRAM|MAX_CONCURRENT|NPU_JIT_COMPILE|*_PLACEHOLDER|LLAMAFACTORY_*'
  foreign+='|LLAMABOARD_*|GRADIO_*|FASTAPI_*|API_@(KEY|HOST|MODEL_NAME|VERBOSE)|VLLM_API_KEY|TRANSFORMERS_VERBOSITY'
  # What Slurm tells a job, and a setting of ours.
  [[ -z ${SLURM_JOB_ID-} ]] || foreign+='|SLURM_GPUS'
  for name in $(compgen -e); do
    # shellcheck disable=SC2053 # patterns
    if [[ $name == @($foreign) && $name != @($ours) ]]; then unset -v "$name"; fi
  done
  # Chinese texts on any machine; names in small letters, numbers with a point, messages that are looked for in logs.
  export LC_ALL=C.UTF-8 PYTHONUTF8=1
  # Nobody is told of our runs.
  export LANGSMITH_TRACING=false LANGCHAIN_TRACING_V2=false DO_NOT_TRACK=1 HF_HUB_DISABLE_TELEMETRY=1 \
    HF_UPDATE_DOWNLOAD_COUNTS=0 VLLM_NO_USAGE_STATS=1 GRADIO_ANALYTICS_ENABLED=False
  # Our servers are on this machine, which no proxy reaches. A lone * is no proxy at all. Some read the one name, some
  # the other.
  no_proxy=${no_proxy:-${NO_PROXY-}}
  [[ ,$no_proxy, == *,@(127.0.0.1|\*),* ]] || no_proxy+=${no_proxy:+,}127.0.0.1,localhost,::1
  export no_proxy NO_PROXY=$no_proxy
  # What is not there is of no use to anybody, and would fail only later.
  for name in TMPDIR SSL_CERT_FILE SSL_CERT_DIR REQUESTS_CA_BUNDLE CURL_CA_BUNDLE; do
    [[ -n ${!name-} && ! -e ${!name} ]] || continue
    printf 'warning: %s=%s is not there; going on without it\n' "$name" "${!name}" >&2
    unset -v "$name"
  done
  [[ -n ${HOME-} ]] || export HOME=~
}

# The options that the caller has exported are read-only variables; with `bash -p` they were not obeyed.
export -n SHELLOPTS BASHOPTS
set +o posix
clean_environment
MISSING=''
need util-linux flock setpriv setsid
need coreutils cat cksum cut date dirname env mkdir mktemp mv od readlink rm sha256sum sleep timeout tr
need grep grep
need sed sed
need 'mawk or gawk' awk
nothing_is_missing
# BusyBox's cannot; without it a sweep that is killed would leave its servers behind.
[[ -n $(setpriv --pdeathsig clear env 2>/dev/null) ]] || MISSING='setpriv with --pdeathsig (package util-linux, 2.33 or newer)'
nothing_is_missing
