#!/bin/sh
# httpd runs this for every path that ends in / and has no index.html.
printf 'Content-Type: text/plain\r\n\r\n'
printf 'Hello from version %s, instance %s\n' "$VERSION" "${BOXCAR_INSTANCE:-$(hostname)}"
