#!/bin/bash
# node.sh FACTS NODE: process 1 of one node, in the namespaces that boot (machine.sh) made.
#
# Two stages. First it puts itself into control groups of its own and starts again in a new cgroup namespace. Then it builds
# the node's file system: this machine's root as a read-only layer below a tmpfs, so that nothing the node does outside its
# own disk (/var, kept on the host under $STATE/NODE/var) survives a boot or reaches the host. Last: containerd, kubelet,
# kube-proxy.
set -euo pipefail
facts=$1 NAME=$2 STAGE=${3:-cgroups}
CLUSTER='' STATE='' # set by the facts
# shellcheck source=/dev/null
. "$facts"
D=$STATE/$NAME

# ---- stage 1: control groups

enter_groups_v1() { # one group per hierarchy, below the one we are in
  local controllers path group before
  before=$(cat /proc/self/cgroup) # read whole: it changes with every move
  while IFS=: read -r _ controllers path; do
    [ -n "$controllers" ] || continue
    group=/sys/fs/cgroup/${controllers#name=}${path%/}/kube-lvs-$CLUSTER-$NAME
    mkdir -p "$group"
    echo "$group" >>"$D/cgroups"
    if [ "$controllers" = cpuset ]; then
      cat "$group/../cpuset.cpus" >"$group/cpuset.cpus"
      cat "$group/../cpuset.mems" >"$group/cpuset.mems"
      echo 1 >"$group/cgroup.clone_children"
    fi
    echo $$ >"$group/cgroup.procs"
  done <<<"$before"
}

enter_groups_v2() { # below the root group, the one place where processes and controllers may meet
  local group=/sys/fs/cgroup/kube-lvs-$CLUSTER-$NAME controller
  for controller in cpuset cpu io memory pids; do
    grep -qw "$controller" /sys/fs/cgroup/cgroup.subtree_control ||
      echo "+$controller" >/sys/fs/cgroup/cgroup.subtree_control
  done
  mkdir -p "$group"
  echo "$group" >>"$D/cgroups"
  echo $$ >"$group/cgroup.procs"
}

if [ "$STAGE" = cgroups ]; then
  hostname "$NAME"
  "enter_groups_$CGROUPS"
  exec unshare --cgroup bash "$0" "$facts" "$NAME" system
fi

# ---- stage 2: the file system

mount_cgroups_v1() { # DIRECTORY
  local controllers options
  mount -t tmpfs -o mode=755 tmpfs "$1"
  while IFS=: read -r _ controllers _; do
    [ -n "$controllers" ] || continue
    options=$controllers
    [ "$options" = "${options#name=}" ] || options=none,$options
    mkdir "$1/${controllers#name=}"
    mount -t cgroup -o "$options" cgroup "$1/${controllers#name=}"
  done </proc/self/cgroup
}

mount_cgroups_v2() { # DIRECTORY
  local controllers
  mount -t cgroup2 cgroup2 "$1"
  mkdir "$1/init" # for the node's daemons: a group that hands controllers down may hold no process
  echo $$ >"$1/init/cgroup.procs"
  read -r controllers <"$1/cgroup.controllers"
  echo "+${controllers// / +}" >"$1/cgroup.subtree_control"
}

R=$D/root
mkdir -p "$R" "$D"/var/{lib/kubelet,lib/containerd,log,tmp,cache}
mount -t tmpfs -o mode=755 tmpfs "$R"
mkdir "$R/upper" "$R/work" "$R/node"
mount -t overlay -o "lowerdir=/,upperdir=$R/upper,workdir=$R/work" overlay "$R/node"
R=$R/node
for dir in /usr /opt /boot /lib; do # where these are file systems of their own
  if mountpoint -q "$dir"; then mount --bind -o ro "$dir" "$R$dir"; fi
done
mount --rbind /dev "$R/dev"
mount -t proc proc "$R/proc"
mount -t sysfs sysfs "$R/sys"
"mount_cgroups_$CGROUPS" "$R/sys/fs/cgroup"
mount -t bpf bpf "$R/sys/fs/bpf"
mount -t tmpfs -o mode=755 tmpfs "$R/run"
mount -t tmpfs -o mode=1777 tmpfs "$R/tmp"
mount --bind "$D/var" "$R/var"
ln -sfn /run "$R/var/run"
mkdir -p "$R"/{run/netns,run/lock,run/old-root,etc/kubernetes,etc/containerd,etc/cni/net.d,run/bin}
# The kubelet sets these, and they belong to the whole machine: it gets files to write to instead.
for key in vm/overcommit_memory=1 kernel/panic=10 kernel/panic_on_oops=1; do
  mkdir -p "$R/run/sysctl/${key%/*}"
  echo "${key#*=}" >"$R/run/sysctl/${key%%=*}"
  mount --bind "$R/run/sysctl/${key%%=*}" "$R/proc/sys/${key%%=*}"
done
touch "$R/run/bin/clusterbox"
mount --bind "$STATE/bin/clusterbox" "$R/run/bin/clusterbox"
for program in kubelet kube-proxy; do ln -s clusterbox "$R/run/bin/$program"; done
cp "$STATE/cp/$NAME.kubeconfig" "$R/etc/kubernetes/kubelet.kubeconfig"
cp "$STATE/cp/proxy.kubeconfig" "$R/etc/kubernetes/proxy.kubeconfig"

# ---- stage 3: configuration, written where a real node has it

node_ip=$NET.$((10 + ${NAME#n}))
ranges="[{\"subnet\": \"$POD_NET.${NAME#n}.0/24\"}]"
routes='{"dst": "0.0.0.0/0"}'
if [ "$IPV6" = on ]; then
  node_ip+=,$NET6::$((10 + ${NAME#n}))
  ranges+=", [{\"subnet\": \"$POD_NET6:${NAME#n}::/64\"}]"
  routes+=', {"dst": "::/0"}'
fi
: >"$R/run/resolv.conf" # no DNS here
printf '127.0.0.1 localhost\n::1 localhost\n%s %s\n' "${node_ip%%,*}" "$NAME" >"$R/etc/hosts"
cat >"$R/etc/cni/net.d/10-pods.conflist" <<C
{"cniVersion": "1.0.0", "name": "pods", "plugins": [
  {"type": "bridge", "bridge": "cni0", "isGateway": true, "hairpinMode": true,
   "ipam": {"type": "host-local", "dataDir": "/run/cni-ipam", "ranges": [$ranges], "routes": [$routes]}}]}
C
cat >"$R/etc/containerd/config.toml" <<C
version = 2
disabled_plugins = ["io.containerd.internal.v1.opt", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs"]
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "kube-lvs.test/pause:1"
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "$CNI_BIN"
C
cat >"$R/etc/kubernetes/kubelet.yaml" <<C
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
failCgroupV1: false
cgroupDriver: cgroupfs
authentication: {anonymous: {enabled: true}, webhook: {enabled: false}}
authorization: {mode: AlwaysAllow}
featureGates: {KubeletInUserNamespace: true}
failSwapOn: false
makeIPTablesUtilChains: false
resolvConf: /run/resolv.conf
imageGCHighThresholdPercent: 100
nodeStatusUpdateFrequency: 2s
nodeLeaseDurationSeconds: 4
evictionHard: {nodefs.available: "0%", nodefs.inodesFree: "0%", imagefs.available: "0%"}
C

cd "$R"
pivot_root . run/old-root
umount --lazy /run/old-root
mount --make-rshared /

# ---- stage 4: the daemons

PATH=/run/bin:$PATH
containerd >>/var/log/containerd.log 2>&1 &
until ctr version >/dev/null 2>&1; do sleep 0.1; done
touch /var/containerd-answers # containerd answers: images can come (machine_ready in machine.sh)
# At the very first start the API server may still be on its way, and a kubelet that misses it waits for 5 s and more.
while [ ! -e /var/start-kubelet ]; do sleep 0.1; done
kubelet --config=/etc/kubernetes/kubelet.yaml --kubeconfig=/etc/kubernetes/kubelet.kubeconfig \
  --hostname-override="$NAME" --node-ip="$node_ip" >>/var/log/kubelet.log 2>&1 &
if [ "$PROXY" != none ]; then
  kube-proxy --kubeconfig=/etc/kubernetes/proxy.kubeconfig --hostname-override="$NAME" --proxy-mode="$PROXY" \
    --cluster-cidr="$CLUSTER_CIDR" --conntrack-max-per-core=0 --conntrack-tcp-timeout-established=0 \
    --conntrack-tcp-timeout-close-wait=0 >>/var/log/kube-proxy.log 2>&1 &
fi
wait
