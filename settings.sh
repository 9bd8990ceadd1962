# What a sweep does. Edit here; an environment variable or a flag of the same name wins over this file.
# shellcheck shell=bash disable=SC2034
# All settings: bin/sweep.sh --help

# How many labelled examples: one adapter is trained and evaluated for each size.
SIZES=(100 500 1000 2000)

# Random seeds: every size is repeated with each of them; the test set stays the same.
#SEEDS=(42 43 44)

# Which model. Without any of these bin/sweep.sh takes the profile `tiny` (a CPU is enough) and the compose
# service `sweep` takes `glm4-9b-chat`.
#PROFILE=glm4-9b-chat
#MODEL=Qwen/Qwen2.5-7B-Instruct
#TEMPLATE=qwen

# Your own data instead of the profile's: CSV, TSV, JSON, JSONL or Parquet.
#TRAIN_FILE=data/mine/train.csv # a container sees only files below data/
#TEST_FILE=data/mine/test.csv
#TEXT_COLUMN=text
#LABEL_COLUMN=label
#ENCODING=gb18030 # found when it is not given; so is DELIMITER
