#!/bin/sh
# Make the console's certificate and the token of its metrics in a folder, unless they are there.
#   make-keys.sh FOLDER
# The certificate signs itself: browsers ask whether it is to be trusted. A site that has an authority of its own puts
# console.pem and console.key in their place; the node takes them when it starts.
set -eu

cd "$1"
if [ ! -s console.key ] || [ ! -s console.pem ]; then
    umask 077
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 825 -subj "/CN=dae-pacs" \
        -addext "subjectAltName=DNS:dae-pacs,DNS:localhost,IP:127.0.0.1" \
        -addext "basicConstraints=critical,CA:FALSE" -addext "extendedKeyUsage=serverAuth" \
        -keyout console.key.part -out console.pem.part
    mv console.key.part console.key
    mv console.pem.part console.pem
fi
if [ ! -s metrics-token ]; then
    od -An -N24 -tx1 /dev/urandom | tr -d ' \n' >metrics-token.part
    mv metrics-token.part metrics-token
fi
# Prometheus is another user: it reads these two, and never the key.
chmod 0644 console.pem metrics-token
chmod 0600 console.key
