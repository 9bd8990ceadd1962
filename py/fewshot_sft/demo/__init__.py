"""The page of bin/demo.sh: runs of a sweep label a text, side by side."""
