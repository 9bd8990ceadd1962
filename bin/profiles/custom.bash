# Any other model, through MODEL and TEMPLATE, with the original's hyper-parameters and data.
# shellcheck shell=bash
