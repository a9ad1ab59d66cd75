#!/bin/bash
# nginx: three clients of compressed files, and new workers after each round
# needs nginx-light=nginx python3=python3
set -e
cat >conf <<END
daemon off;
worker_processes 2;
user $(id -un) $(id -gn);
pid $PWD/pid;
error_log $PWD/log;
events { worker_connections 256; }
http {
	access_log off;
	client_body_temp_path $PWD/body;
	server {
		listen unix:$PWD/socket;
		location / { gzip on; gzip_types *; root $QUARRY_SOURCE/examples/demo; }
	}
}
END
nginx -p "$PWD" -c "$PWD/conf" 2>errors &
server=$!
trap 'kill $server 2>/dev/null || :' EXIT
await socket $server
await pid $server
for ((round = 0; round < 3; round++)); do
	clients=()
	for ((i = 0; i < 3; i++)); do
		python3 "$QUARRY_SOURCE/bench/programs/requests.py" socket 2000 &
		clients+=($!)
	done
	for client in "${clients[@]}"; do
		wait "$client"
		echo 'every request answered'
	done
	# Workers that leave may hang up on who asks them meanwhile.
	workers=$(cat "/proc/$server/task/$server/children")
	kill -HUP "$server"
	for worker in $workers; do
		while kill -0 "$worker" 2>/dev/null; do sleep 0.05; done
	done
done
kill -QUIT "$(cat pid)"
wait $server
! grep -E 'alert|emerg|crit' log errors
