module kube-lvs.io/e2e/cluster/web

go 1.26.0
