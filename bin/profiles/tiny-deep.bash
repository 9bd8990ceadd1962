# The model of the profile tiny with twice the layers: MODELS='tiny tiny-deep' compares two models without a GPU.
# shellcheck shell=bash disable=SC2034 # read by load_settings
# shellcheck source=tiny.bash
source "$ROOT/bin/profiles/tiny.bash"
MODEL=@saves/tiny-deep/base
MODEL_NAME=tiny-deep
BASE_LAYERS=4
