# Any other model, through MODEL and TEMPLATE, with the seed's hyper-parameters and data.
# shellcheck shell=bash
