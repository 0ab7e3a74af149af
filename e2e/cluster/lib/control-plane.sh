#!/bin/bash
# control-plane.sh FACTS cp: process 1 of the control plane, in the namespaces that boot (machine.sh) made.
set -euo pipefail
facts=$1 CLUSTER='' STATE=''
# shellcheck source=/dev/null
. "$facts"
hostname "$CLUSTER-cp"
cd "$STATE/cp"
trap 'exit 0' TERM INT
PATH=$STATE/bin:$PATH

etcd --data-dir etcd --unsafe-no-fsync --log-level=error >>etcd.log 2>&1 &
families=(--service-cluster-ip-range="$SERVICE_NET.0.0/16")
[ "$IPV6" = off ] || families=(--service-cluster-ip-range="$SERVICE_NET.0.0/16,$SERVICE_NET6::/112")
kube-apiserver --etcd-servers=http://127.0.0.1:2379 --bind-address="$CP_ADDRESS" --advertise-address="$CP_ADDRESS" \
  --secure-port=6443 --tls-cert-file=api.crt --tls-private-key-file=api.key --client-ca-file=ca.crt \
  --token-auth-file=tokens.csv --authorization-mode=Node,RBAC \
  --service-account-key-file=sa.key --service-account-signing-key-file=sa.key \
  --service-account-issuer=https://kubernetes.default.svc "${families[@]}" \
  --enable-admission-plugins=NodeRestriction --allow-privileged=true \
  --kubelet-preferred-address-types=InternalIP --enable-aggregator-routing=true >>api.log 2>&1 &
until curl --silent --fail --cacert ca.crt --max-time 2 "https://$CP_ADDRESS:6443/readyz" >/dev/null; do sleep 0.1; done
touch ready
kube-controller-manager --kubeconfig=kcm.kubeconfig --service-account-private-key-file=sa.key --root-ca-file=ca.crt \
  --leader-elect=false --bind-address=127.0.0.1 --node-monitor-period=1s --node-monitor-grace-period=6s >>kcm.log 2>&1 &
kube-scheduler --kubeconfig=scheduler.kubeconfig --leader-elect=false --bind-address=127.0.0.1 >>scheduler.log 2>&1 &
wait
