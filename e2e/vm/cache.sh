# shellcheck shell=bash
# Sourced by kernels and run: where the guests' kernels are kept.
# Sets vm_cache. Asks KUBE_LVS_CACHE, then XDG_CACHE_HOME, then the user's home (of the password
# database when HOME is unset or is a test's own directory).
vm_home=${HOME:-}
if [ -z "$vm_home" ] || [ -n "${TEST_TMPDIR:-}" ]; then
  vm_home=$(getent passwd "$(id -u)" | cut -d: -f6)
fi
# shellcheck disable=SC2034  # used by those who source this
vm_cache=${KUBE_LVS_CACHE:-${XDG_CACHE_HOME:-$vm_home/.cache}/kube-lvs}/vm
export PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin

die() {
  echo "${0##*/}: $*" >&2
  exit "${die_status:-1}"
}

need() {  # need COMMAND PACKAGE
  command -v "$1" >/dev/null || die "$1 is missing: apt-get install $2"
}
