# few-shot-sft: the whole pinned stack on a CUDA base. Build: docker compose build
#
# Any Debian or Ubuntu with Python 3.12 or 3.11 will do as BASE_IMAGE; PyTorch and vLLM bring CUDA's libraries along,
# the host's driver comes in through the NVIDIA Container Toolkit.
ARG BASE_IMAGE=nvidia/cuda:13.0.1-base-ubuntu24.04
FROM ${BASE_IMAGE}

# curl: for ON_FINISH. gcc and the Python headers: Triton compiles its launchers at run time. The font: labels may be Chinese.
RUN set -eux; \
    apt-get update; \
    DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
        ca-certificates curl fonts-wqy-microhei g++ gcc git libc6-dev python3 python3-dev python3-venv; \
    rm -rf /var/lib/apt/lists/*; \
    gcc --version; python3 -c 'import sysconfig, os; assert os.path.exists(sysconfig.get_path("include") + "/Python.h")'

# The dependencies in a layer of their own, which an edit of the project's scripts does not touch.
# PARTS: gpu (vLLM), modelscope, dev (what the `test` service needs).
ARG PARTS="gpu modelscope dev"
# A mirror of the package index, where the default one is slow or out of reach.
ARG UV_DEFAULT_INDEX=
ARG PIP_INDEX_URL=
ENV FEWSHOT_VENV=/opt/venv
WORKDIR /app
COPY pyproject.toml requirements.lock ./
COPY bin/lib/clean.bash bin/lib/common.bash bin/lib/environment.bash bin/lib/
RUN set -eux; \
    if [ -z "$UV_DEFAULT_INDEX" ]; then unset UV_DEFAULT_INDEX; fi; \
    if [ -z "$PIP_INDEX_URL" ]; then unset PIP_INDEX_URL; fi; \
    export UV_NO_CACHE=1 PIP_NO_CACHE_DIR=1; \
    bash -c 'set -Eeuo pipefail; . bin/lib/common.bash; . bin/lib/environment.bash; use_environment "$@"' _ $PARTS; \
    /opt/venv/bin/python -c 'import torch, transformers, llamafactory, evaluate, langchain_openai'

# Outputs are mounted; caches (models, vLLM's and Triton's compilations) are a volume that any user may write.
ENV HOME=/home/fewshot \
    HF_HOME=/cache/huggingface \
    MODELSCOPE_CACHE=/cache/modelscope \
    VLLM_CACHE_ROOT=/cache/vllm \
    TRITON_CACHE_DIR=/cache/triton \
    TORCHINDUCTOR_CACHE_DIR=/cache/inductor \
    VLLM_NO_USAGE_STATS=1 \
    TOKENIZERS_PARALLELISM=false
RUN set -eux; \
    (getent passwd 1000 || useradd --uid 1000 --home-dir /home/fewshot --no-create-home --shell /bin/bash fewshot); \
    mkdir -p /home/fewshot /cache data saves logs objs; \
    chmod 1777 /home/fewshot /cache data saves logs objs

COPY . .
ARG GIT_REVISION=
RUN set -eux; \
    if [ -n "$GIT_REVISION" ]; then printf '%s\n' "$GIT_REVISION" >REVISION; fi; \
    /opt/venv/bin/python -m compileall -q py; \
    bash bin/sweep.sh --help >/dev/null
USER 1000:1000
ENTRYPOINT ["bash", "bin/sweep.sh"]
