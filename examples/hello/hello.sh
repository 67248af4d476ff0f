#!/bin/sh
# Process 1 takes no SIGTERM unless it says so, and a container that takes none is killed after its grace instead.
trap 'kill "$server"; exit 0' TERM INT
httpd -f -p 8080 -h /www &
server=$!
wait "$server"
