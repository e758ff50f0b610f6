#!/bin/sh
# Notes the time and becomes the function's process: the same first moment for all, before Python starts.
date +%s.%N >"$BENCH_STARTED"
exec "$@"
