#!/bin/bash
# images.sh [IMAGE...]: make images for the test cluster into $KUBE_LVS_CACHE/img (default ~/.cache/kube-lvs/img).
#
# IMAGE, as file img/IMAGE.tar:
#   pause    kube-lvs.test/pause:1   the sandbox of every pod
#   web      kube-lvs.test/web:1     answers HTTP and UDP with: hostname, own address, client's address (see web/main.go)
#   tools    kube-lvs.test/tools:1   bash, coreutils, ip, ss, tc, nft, ethtool, bpftool, curl, tcpdump where installed, load client
#   operator=PATH[:TAG]   kube-lvs.test/operator:TAG from the built binary, TAG by default dev
#   agent=PATH[:TAG]      kube-lvs.test/agent:TAG, with lvsadm from PATH/../../cli/lvsadm, where Bazel builds it
# Without IMAGE: pause, web and tools. Example:
#   e2e/cluster/images.sh operator=bazel-bin/operator/kube-lvs-operator agent=bazel-bin/node-agent/kube-lvs-agent
#   e2e/cluster/load-image operator agent
set -euo pipefail
. "$(dirname "$(readlink -f "$0")")/lib/common.sh"
help_if_asked "$@"

TOOLS=(bash cat chmod cp cut date dd df dirname env grep head id kill ln ls mkdir mount mv printf ps readlink rm rmdir sed sh sleep
  sort stat tail tar tee timeout touch tr true umount uname uniq wc xargs bpftool bridge conntrack curl ethtool ip nft nsenter
  ping sysctl ss strace tc tcpdump)

product() { # NAME FILE[:TAG]
  local path=${2%:*} tag=dev
  case $2 in *:*) tag=${2##*:} ;; esac
  local files=("$path:/kube-lvs-$1") file
  [ "$1" != agent ] || files+=("$(dirname "$path")/../cli/lvsadm:/usr/bin/lvsadm")
  for file in "${files[@]%:*}"; do
    [ -f "$file" ] || die "$1: no binary $file: build it with Bazel first"
  done
  "$HERE/image" --name "kube-lvs.test/$1:$tag" --out "$IMAGE_DIR/$1.tar" --entrypoint "/kube-lvs-$1" "${files[@]}"
}

tools() {
  local tool present=()
  for tool in "${TOOLS[@]}"; do
    if command -v "$tool" >/dev/null; then present+=("$(type -P "$tool")"); fi
  done
  "$HERE/image" --name kube-lvs.test/tools:1 --out "$IMAGE_DIR/tools.tar" --command "sleep infinity" \
    "${present[@]}" "$(readlink -f "$BIN/kube-lvs-load"):/usr/bin/kube-lvs-load"
}

[ $# != 0 ] || set -- pause web tools
mkdir -p "$IMAGE_DIR"
# The cache is its user's, also what sudo makes there.
[ "$(id -u)" != 0 ] || trap 'chown -R --reference="$KUBE_LVS_CACHE" "$IMAGE_DIR"' EXIT
for image in "$@"; do
  case $image in
    pause)
      "$HERE/build.sh" pause
      "$HERE/image" --name kube-lvs.test/pause:1 --out "$IMAGE_DIR/pause.tar" --entrypoint /pause "$(readlink -f "$BIN/pause"):/pause"
      ;;
    web)
      "$HERE/build.sh" web
      "$HERE/image" --name kube-lvs.test/web:1 --out "$IMAGE_DIR/web.tar" --entrypoint /web --user 65532 "$(readlink -f "$BIN/web"):/web"
      ;;
    tools)
      "$HERE/build.sh" kube-lvs-load
      tools
      ;;
    operator=* | agent=*) product "${image%%=*}" "${image#*=}" ;;
    *) usage_error "no image is called $image: pause, web, tools, operator=PATH[:TAG], agent=PATH[:TAG]" ;;
  esac
done
