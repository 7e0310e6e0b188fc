#!/bin/bash
# Build the image of a target and try it: no root, a read-only file system, the demo, the health check of a scheduler.
#
#   deploy/container/check.sh [cpu|cuda]
#
# From the environment: BUILDAH and PODMAN (commands and their global options), BUILD_FLAGS and RUN_FLAGS (more options).
set -euo pipefail
target=${1:-cpu}
read -ra buildah <<<"${BUILDAH:-buildah}"
read -ra podman <<<"${PODMAN:-podman}"
read -ra build_flags <<<"${BUILD_FLAGS:-}"
read -ra run_flags <<<"${RUN_FLAGS:-}"
cd "$(dirname "$0")/../.."

version=$(sed -n 's/^__version__ = "\(.*\)"$/\1/p' drfarm/_version.py)
image=localhost/drfarm:$version-$target
echo "== build $image"
"${buildah[@]}" build "${build_flags[@]}" --format docker --file deploy/container/Containerfile \
    --ignorefile deploy/container/Containerfile.dockerignore \
    --build-arg VERSION="$version" --target "$target" --tag "$image" .

# Nothing of this needs a network; the scheduler listens on its own loopback.
safe=(--network none --read-only --read-only-tmpfs=false --tmpfs "/tmp:rw,mode=1777" --cap-drop ALL --security-opt no-new-privileges)
try() { "${podman[@]}" run --rm "${run_flags[@]}" "${safe[@]}" "$@"; }

echo "== who and what"
[ "$(try "$image" --version)" = "drfarm $version" ]
[ "$(try --entrypoint /usr/bin/id "$image" -u)" = 10001 ]
if try --entrypoint /bin/sh "$image" -c 'touch /opt/drfarm/written' 2>/dev/null; then
    echo "the root file system can be written" >&2
    exit 1
fi

echo "== the demo, in a folder of /tmp"
try --workdir /tmp "$image" demo

echo "== a scheduler and its health"
container=$("${podman[@]}" run --detach "${run_flags[@]}" "${safe[@]}" "$image" scheduler --port 8786)
trap '"${podman[@]}" rm --force --time 5 "$container" >/dev/null' EXIT
for _ in $(seq 60); do
    "${podman[@]}" exec "$container" /opt/drfarm/bin/python /usr/local/lib/drfarm/healthcheck.py 2>/dev/null && break
    sleep 1
done
"${podman[@]}" exec "$container" /opt/drfarm/bin/python /usr/local/lib/drfarm/healthcheck.py
"${podman[@]}" healthcheck run "$container"

echo "== a scheduler that hangs is not healthy, and goes on after"
"${podman[@]}" kill --signal STOP "$container" >/dev/null
if "${podman[@]}" healthcheck run "$container" >/dev/null 2>&1; then
    echo "a stopped scheduler was called healthy" >&2
    exit 1
fi
"${podman[@]}" kill --signal CONT "$container" >/dev/null
"${podman[@]}" healthcheck run "$container"
echo "== $image is good"
