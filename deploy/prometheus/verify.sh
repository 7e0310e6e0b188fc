#!/bin/bash
# Read a store again and leave what came out for node_exporter, whose --collector.textfile.directory is FOLDER:
#
#   deploy/prometheus/verify.sh STORE FOLDER        (each week, from cron or a systemd timer)
#
# The exit code is that of `drfarm store verify`: 0 all is good, 1 something is bad, 2 the store can't be read.
set -uo pipefail
if [ $# -ne 2 ] || [ ! -d "$2" ]; then
    echo "usage: $0 STORE FOLDER (FOLDER must exist)" >&2
    exit 2
fi
store=$1 folder=$2
drfarm store verify --store "$store"
code=$?

# Quotes and backslashes would end the label; a file that is only half written must not be read.
label=${store//\\/\\\\}
label=${label//\"/\\\"}
name=drfarm-verify-$(printf %s "$store" | cksum | cut -d ' ' -f 1)
{
    echo "# HELP drfarm_store_verify_exit_code Exit code of the last drfarm store verify; 0 is good."
    echo "# TYPE drfarm_store_verify_exit_code gauge"
    echo "drfarm_store_verify_exit_code{store=\"$label\"} $code"
    echo "# HELP drfarm_store_verify_timestamp_seconds When it ended, in seconds since 1970."
    echo "# TYPE drfarm_store_verify_timestamp_seconds gauge"
    echo "drfarm_store_verify_timestamp_seconds{store=\"$label\"} $(date +%s)"
} >"$folder/$name.prom.$$" && mv "$folder/$name.prom.$$" "$folder/$name.prom"
exit $code
