#!/bin/bash
# lvsadm prints of the kernel's IPVS what ipvsadm prints: lvsadm_test.sh LVSADM.
set -euo pipefail
status=0
# shellcheck disable=SC2016  # for the guest's shell
output=$("$TEST_SRCDIR/$TEST_WORKSPACE/e2e/vm/run" 6.1 '
./lvsadm -Ln --dataplane ipvs >none.txt && grep -q "IP Virtual Server version" none.txt || exit 9
ipvsadm -A -t 192.0.2.1:80 -s wrr
ipvsadm -a -t 192.0.2.1:80 -r 10.0.0.1:8080 -m -w 3
ipvsadm -a -t 192.0.2.1:80 -r 10.0.0.2:80 -g -w 0
ipvsadm -a -t 192.0.2.1:80 -r 10.0.0.3:80 -i
ipvsadm -A -u 192.0.2.1:5060 -s sh -b sh-port,sh-fallback -p 360 --pe sip
ipvsadm -A -u 192.0.2.1:53 -s rr -o
ipvsadm -A -t [2001:db8::1]:443 -s mh -b mh-port
ipvsadm -a -t [2001:db8::1]:443 -r [2001:db8::100]:443 -m
ipvsadm -A -f 7 -s rr -p 300 -M 255.255.255.0
ipvsadm -A -f 8 -6 -s lc -p 300 -M 64
ipvsadm -A --sctp-service 192.0.2.1:80 -s wlc
ipvsadm -Ln | sort >wanted.txt
./lvsadm -Ln --dataplane ipvs | sort >got.txt
[ "$(grep -c . wanted.txt)" = 14 ] || { echo "ipvsadm could not make the rules:"; cat wanted.txt; exit 1; }
diff wanted.txt got.txt
' "$1") || status=$?
[ "$status" = 0 ] || echo "status $status; < ipvsadm, > lvsadm:"$'\n'"$output"
exit "$status"
