#!/bin/sh
# Make docker/.env: passwords of this site's own, and which parts compose.yaml starts. What is there stays as it is.
#   docker/set-up.sh [PROFILES]      orthanc,monitoring by default
set -eu

env_file="$(dirname "$0")/.env"
umask 077
touch "$env_file"

# NAME VALUE: added where NAME is not set yet.
set_once() {
    grep -q "^$1=" "$env_file" || printf '%s=%s\n' "$1" "$2" >>"$env_file"
}

password() {
    od -An -N18 -tx1 /dev/urandom | tr -d ' \n'
}

set_once COMPOSE_PROFILES "${1:-orthanc,monitoring}"
set_once ORTHANC_PASSWORD "$(password)"
set_once POSTGRES_PASSWORD "$(password)"
set_once GRAFANA_PASSWORD "$(password)"
echo "Passwords are in $env_file, for Orthanc's user dae-pacs and Grafana's user admin. Keep it to yourself."
