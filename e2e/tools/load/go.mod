module kube-lvs.io/e2e/tools/load

go 1.26.0
