# bash hostile.bash COMMAND...: run it from a shell that has exported everything that has ever broken a script of
# somebody: options, functions, and variables that were meant for other programs. HEARS=URL: where the traces would go.
# shellcheck shell=bash

away='/nowhere/at all'
export CDPATH=.:/:/tmp GREP_OPTIONS=-v GREP_COLORS=mt=7 QUOTING_STYLE=c LC_ALL=C LANGUAGE=fr GIT_DIR=$away
export IFS=e TMPDIR=$away PS4='$(exit 7)' SSL_CERT_FILE=$away REQUESTS_CA_BUNDLE=$away GLOBIGNORE='*' ENV=$away
export PYTHONHOME=$away PYTHONSAFEPATH=1 PYTHONOPTIMIZE=2 PYTHONWARNINGS=error PYTHONSTARTUP=$away PYTHONIOENCODING=ascii \
  PYTHONUTF8=0 PYTHONPATH=$away MPLBACKEND=module://nowhere MATPLOTLIBRC=$away
export FORCE_TORCHRUN=1 WORLD_SIZE=2 RANK=1 LOCAL_RANK=1 MASTER_ADDR=192.0.2.1 MASTER_PORT=9 NNODES=2 NODE_RANK=1 USE_RAY=1 USE_V1=1 \
  USE_MCA=1 USE_TORCH=0 OMPI_COMM_WORLD_SIZE=2 PMI_SIZE=2 ACCELERATE_USE_FSDP=true ACCELERATE_MIXED_PRECISION=fp8 \
  ACCELERATE_USE_DEEPSPEED=true LLAMABOARD_ENABLED=1 LLAMAFACTORY_VERBOSITY=ERROR TRANSFORMERS_VERBOSITY=error MAX_CONCURRENT=0
export KUBEFLOW_TRAINER_SERVER_URL=${HEARS-http://127.0.0.1:9} WANDB_MODE=online WANDB_API_KEY=foreign API_KEY=foreign VLLM_API_KEY=foreign
export LANGSMITH_TRACING=true LANGCHAIN_TRACING_V2=true LANGSMITH_ENDPOINT=${HEARS-http://127.0.0.1:9} LANGSMITH_API_KEY=foreign \
  LANGCHAIN_ENDPOINT=${HEARS-http://127.0.0.1:9} LANGCHAIN_API_KEY=foreign
export OPENAI_API_KEY=foreign OPENAI_BASE_URL=${HEARS-http://127.0.0.1:9} OPENAI_API_BASE=${HEARS-http://127.0.0.1:9} OPENAI_ORG_ID=foreign \
  OPENAI_PROXY=${HEARS-http://127.0.0.1:9} OPENAI_CUSTOM_HEADERS='Authorization: foreign'
for name in {HTTP,HTTPS,ALL}_PROXY {http,https,all}_proxy; do export "$name=${HEARS-http://127.0.0.1:9}"; done
unset NO_PROXY no_proxy
for name in cd ls date dirname readlink printf mkdir grep awk flock python say die main; do
  eval "$name() { echo \"an exported function: $name\"; builtin return 1; }"
  builtin export -f "${name?}"
done
builtin shopt -s nullglob failglob nocasematch xpg_echo lastpipe
builtin set -o noclobber -o noglob -o nounset -o posix
builtin export SHELLOPTS BASHOPTS POSIXLY_CORRECT=1
builtin exec "$@"
