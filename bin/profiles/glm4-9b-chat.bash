# The original's model, its `-hf` weights: the architecture that transformers and vLLM have built in.
# shellcheck shell=bash disable=SC2034 # read by load_settings
MODEL=zai-org/glm-4-9b-chat-hf
MODEL_NAME=GLM-4-9B-Chat
TEMPLATE=glm4
[[ ${USE_MODELSCOPE_HUB:-0} == 0 ]] || MODEL=ZhipuAI/glm-4-9b-chat-hf
