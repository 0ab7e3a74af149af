#!/bin/bash
# Runs in a guest: a client, a router, a director and three real servers, as e2e/bare/up draws them,
# each a network namespace with an agent of its own (but client and router), and the services of
# examples/bare with the IPVS dataplane. Prints "ok ..." a case; the first that fails ends it.
set -euo pipefail
LAN=10.77.0
# shellcheck disable=SC2034  # for site.sh
declare -A address=([router]=254 [d1]=11 [r1]=21 [r2]=22 [r3]=23)
# shellcheck source=e2e/vm/site.sh
. ./site.sh

fail() {
  echo "FAILED: $*"
  echo "-- rules of d1" && on d1 ipvsadm -Ln
  for machine in d1 r1 r2 r3; do
    echo "-- agent of $machine" && tail -n 12 "/run/$machine.log"
    ip -n "$machine" -brief addr
  done
  on d1 nft list ruleset
  echo "-- kernel" && dmesg | tail -n 8
  exit 1
}

# Who answers at a VIP (and port, 80 by default): r1, r2 or r3. (The guest's wget is static, and crashes looking up names.)
# shellcheck disable=SC2016  # for the inner shell
get() {
  on client timeout 20 bash -c \
    'exec 3<>"/dev/tcp/$0/$1" && printf "GET / HTTP/1.0\r\n\r\n" >&3 && grep -x "r[123]" <&3' "$1" "${2:-80}"
}
rules() { on d1 ipvsadm -Sn; }
# Prefixes of VIPs.
routes() {
  for machine in d1 r1; do
    for family in -4 -6; do ip -n "$machine" $family route show table local proto 142; done
  done
}
expect_counts() {  # WHAT WANTED <ANSWERS; a count: "r1 6,r2 4,r3 2,"
  local got
  got=$(sort | uniq -c | awk '{ printf "%s %s,", $2, $1 }')
  [ "$got" = "$2" ] || fail "$1: wanted $2, got $got"
  echo "ok $1: $got"
}
expect_tally() {  # WHAT VIP REQUESTS WANTED
  for ((i = 0; i < $3; i++)); do get "$2" || echo nobody; done | expect_counts "$1" "$4"
}

make_site
for machine in r1 r2 r3; do
  mkdir "www-$machine"
  echo "$machine" >"www-$machine/index.html"
  for port in 0.0.0.0:80 0.0.0.0:8080 "[::]:8090"; do
    on "$machine" busybox httpd -p "$port" -h "/test/www-$machine"
  done
done

# The site as it is, but IPVS and one director.
cp site/group.yaml two-directors.yaml
sed -i 's/dataplane: eBPF/dataplane: IPVS/; /node: d2/d' site/group.yaml
grep -q 'dataplane: IPVS' site/group.yaml || fail "the examples' group has no dataplane to change"
sed -i "s|allowedRanges: \[|&'$LAN6/64', |" site/group.yaml two-directors.yaml
grep -q "$LAN6/64" site/group.yaml || fail "the examples' group has no ranges to add to"
# Many ports and VIPs, which only IPVS has.
cat >site/ports.yaml <<END
apiVersion: kube-lvs.io/v1alpha1
kind: LVSService
metadata: {name: range}
spec:
  addresses: [{type: IP, value: $LAN.204}]
  ports: [{name: web, port: 80, endPort: 89}]
  forwarding: {sourceNAT: Enabled}
  scheduler: {name: rr}
  backends: [{name: servers, static: [{address: $LAN.21}, {address: $LAN.22}, {address: $LAN.23}]}]
---
apiVersion: kube-lvs.io/v1alpha1
kind: LVSService
metadata: {name: all}
spec:
  addresses: [{type: IP, value: $LAN.205}]
  allPorts: Enabled
  forwarding: {method: DirectRouting}
  scheduler: {name: rr}
  backends: [{name: servers, static: [{address: $LAN.21}, {address: $LAN.22}, {address: $LAN.23}]}]
---
apiVersion: kube-lvs.io/v1alpha1
kind: LVSService
metadata: {name: net-by-nat}
spec:
  addresses: [{type: CIDR, value: $LAN.208/29}]
  ports: [{name: web, port: 80, targetPort: 8080}]
  forwarding: {sourceNAT: Enabled}
  scheduler: {name: rr}
  backends: [{name: servers, static: [{address: $LAN.21}, {address: $LAN.22}, {address: $LAN.23}]}]
---
apiVersion: kube-lvs.io/v1alpha1
kind: LVSService
metadata: {name: net-by-direct-routing}
spec:
  addresses: [{type: CIDR, value: $LAN.216/29}]
  allPorts: Enabled
  forwarding: {method: DirectRouting}
  scheduler: {name: rr}
  backends: [{name: servers, static: [{address: $LAN.21}, {address: $LAN.22}, {address: $LAN.23}]}]
---
apiVersion: kube-lvs.io/v1alpha1
kind: LVSService
metadata: {name: net-by-tunnel}
spec:
  addresses: [{type: CIDR, value: $LAN.232/29}]
  ports: [{name: web, port: 80}]
  forwarding: {method: Tunnel}
  scheduler: {name: rr}
  backends: [{name: servers, static: [{address: $LAN.21}, {address: $LAN.22}, {address: $LAN.23}]}]
---
apiVersion: kube-lvs.io/v1alpha1
kind: LVSService
metadata: {name: net6-by-nat}
spec:
  addresses: [{type: CIDR, value: "${LAN6}5:0/112"}]
  ports: [{name: web, port: 80, targetPort: 8090}]
  forwarding: {sourceNAT: Enabled}
  scheduler: {name: rr}
  backends: [{name: servers, static: [{address: "${LAN6}21"}, {address: "${LAN6}22"}, {address: "${LAN6}23"}]}]
---
apiVersion: kube-lvs.io/v1alpha1
kind: LVSService
metadata: {name: net6-by-direct-routing}
spec:
  addresses: [{type: CIDR, value: "${LAN6}6:0/112"}]
  ports: [{name: web, port: 8090}]
  forwarding: {method: DirectRouting}
  scheduler: {name: rr}
  backends: [{name: servers, static: [{address: "${LAN6}21"}, {address: "${LAN6}22"}, {address: "${LAN6}23"}]}]
END
# To a network of IPv6 VIPs a router has a route, via the first of them.
for net in "${LAN6}5:0" "${LAN6}6:0"; do ip -n router -6 route add "$net/112" via "$net"; done
# Four agents at once would each have the kernel ask for these, which takes minutes in emulation.
modprobe -a ip_vs ip_vs_rr ip_vs_wrr nf_tables nft_ct nft_masq nft_chain_nat
for machine in d1 r1 r2 r3; do start_agent "$machine"; done
for vip in 201 202 203 204 205 208 216 232; do within 240 "VIP $LAN.$vip never answered" get $LAN.$vip; done
within 240 "VIP ${LAN6}5:0 never answered" get "${LAN6}5:0"
within 240 "VIP ${LAN6}6:0 never answered" get "${LAN6}6:0" 8090
within 60 "not all services have their three real servers" \
  sh -c "[ \$(nsenter --net=/run/netns/d1 ipvsadm -Sn | grep -c -- '-a ') = 39 ]"
echo "ok the services from files, in the kernel's IPVS:" && on d1 ipvsadm -Ln

expect_tally "NAT in proportion 3:2:1" $LAN.201 12 "r1 6,r2 4,r3 2,"
expect_tally "DirectRouting in turn" $LAN.202 12 "r1 4,r2 4,r3 4,"
expect_tally "Tunnel in proportion 2:1:1" $LAN.203 12 "r1 6,r2 3,r3 3,"

expect_tally "a range by NAT in turn" $LAN.204 6 "r1 2,r2 2,r3 2,"
expect_tally "all ports by DirectRouting in turn" $LAN.205 6 "r1 2,r2 2,r3 2,"
! get $LAN.204 90 >/dev/null || fail "a port outside of the range is balanced"
get $LAN.205 8080 >/dev/null || fail "allPorts leaves out 8080"
echo "ok a port outside of the range is not balanced, every other port of allPorts is"

# Any address of a CIDR is as good as another: the six requests go in one turn.
several() { for last in "$@" "$@"; do get "$LAN.$last" || echo nobody; done; }
several6() { for vip in "${@:2}" "${@:2}"; do get "$LAN6$vip" "$1" || echo nobody; done; }
several 208 211 215 | expect_counts "a CIDR by NAT in turn" "r1 2,r2 2,r3 2,"
several 216 221 223 | expect_counts "a CIDR by DirectRouting in turn" "r1 2,r2 2,r3 2,"
several 232 234 239 | expect_counts "a CIDR by Tunnel in turn" "r1 2,r2 2,r3 2,"
several6 80 5:0 5:77 5:ffff | expect_counts "a CIDR of IPv6 by NAT in turn" "r1 2,r2 2,r3 2,"
several6 8090 6:0 6:77 6:ffff | expect_counts "a CIDR of IPv6 by DirectRouting in turn" "r1 2,r2 2,r3 2,"
! get $LAN.208 81 >/dev/null || fail "a port that the CIDR's service has not is balanced"
! get $LAN.224 >/dev/null || fail "an address outside of the CIDR is balanced"
! get "${LAN6}7:0" 8090 >/dev/null || fail "an IPv6 address outside of the CIDR is balanced"
routed=$(routes)
[ "$(grep -c "^local $LAN6" <<<"$routed")" = 3 ] || fail "local routes: $routed"
[ "$(grep -c "^local $LAN.2" <<<"$routed")" = 5 ] || fail "local routes: $routed"

marks() { on d1 nft list map inet kube-lvs-marks tcp4; }
marked=$(marks)
before=$(rules)
for machine in d1 r1 r2 r3; do kill -KILL "${agents[$machine]}"; done
wait "${agents[@]}" 2>/dev/null || :
[ "$(rules)" = "$before" ] || fail "rules went with their agent"
for vip in 201 202 203 204 205 209 217 233; do get $LAN.$vip >/dev/null || fail "$LAN.$vip fell silent with its agents"; done
for machine in d1 r1 r2 r3; do : >"/run/$machine.log"; start_agent "$machine"; done
in_sync() {
  on d1 bash -c 'exec 3<>/dev/tcp/127.0.0.1/9474 && printf "GET /metrics HTTP/1.0\r\n\r\n" >&3 &&
    grep -x "kube_lvs_in_sync 1" <&3'
}
within 60 "no agent found all as it should be" in_sync
[ "$(rules)" = "$before" ] || fail "a restarted agent changed rules"
[ "$(marks)" = "$marked" ] || fail "a restarted agent changed marks"
[ "$(routes)" = "$routed" ] || fail "a restarted agent changed local routes"
! grep -q '"plan applied"\|drift' /run/d1.log || fail "a restarted agent applied something"
echo "ok every agent killed and started again: nothing changed"

sed -i 's/weight: 3}/weight: 0}/' site/nat.yaml
within 40 "a changed weight was not applied" \
  sh -c "nsenter --net=/run/netns/d1 ipvsadm -Sn | grep -q -- '-t $LAN.201:80 -r $LAN.21:8080 -m -w 0'"
expect_tally "NAT without r1" $LAN.201 6 "r2 4,r3 2,"

rm site/ports.yaml
within 60 "deleted services of many ports stay" sh -c '! nsenter --net=/run/netns/d1 ipvsadm -Sn | grep -- "-f "'
! on d1 nft list tables | grep kube-lvs-marks || fail "the marks of deleted services stay"
on d1 nft list table inet kube-lvs | grep $LAN.201 >/dev/null || fail "another service's source NAT went with the marks"
! get $LAN.204 >/dev/null || fail "a deleted range is balanced"
! get $LAN.211 >/dev/null || fail "a deleted CIDR is balanced"
gone() { [ -z "$(routes)" ]; }
within 60 "local routes of deleted CIDRs stay" gone
ip -n d1 route show table local | grep "^local $LAN.11 " >/dev/null || fail "another local route went too"
echo "ok services of many ports and VIPs are gone with their marks and routes, and only they"

# Alone it answers for ever. With a fellow (here one that is dead) what nobody renews ends in the kernel.
# Not grep -q: nft writes piece by piece, and would be killed for what nobody reads any more.
expiring() { on d1 nft list set arp kube-lvs claims | grep expires >/dev/null; }
unanswered() { ! { ip -n router neigh flush dev eth0 && get $LAN.203; }; }
on d1 nft list set arp kube-lvs claims | grep $LAN.203 >/dev/null || fail "the director claims nothing"
! expiring || fail "the claims of a director that is alone end"
sed 's/dataplane: eBPF/dataplane: IPVS/' two-directors.yaml >next.yaml && mv next.yaml site/group.yaml
within 60 "claims of a director with a fellow do not end" expiring
# In milliseconds, of "expires 9s972ms", "9s" or "972ms".
left() {
  on d1 nft list set arp kube-lvs claims | awk -v vip=$LAN.203 '
    match($0, vip " timeout [0-9a-z]+ expires ") { $0 = substr($0, RSTART + RLENGTH)
      s = match($0, /^[0-9]+s/) ? substr($0, 1, RLENGTH - 1) : 0; sub(/^[0-9]+s/, "")
      print s * 1000 + (match($0, /^[0-9]+ms/) ? substr($0, 1, RLENGTH - 2) : 0) }'
}
least=$(left)
rises() { local now && now=$(left) && { [ "$now" -gt "$least" ] || { least=$now && false; }; }; }
within 60 "claims are not renewed" rises
get $LAN.203 >/dev/null || fail "a director that renews its claims does not answer"
kill -STOP "${agents[d1]}"
within 60 "a frozen director answers for its VIPs for ever" unanswered
kill -CONT "${agents[d1]}"
within 60 "a director that thawed does not answer" get $LAN.203
echo "ok a frozen director falls silent by itself, and comes back"

# Timeouts of the group are those of the node's IPVS.
timeouts() { on d1 ipvsadm -L --timeout | grep -x "Timeout (tcp tcpfin udp): $1" >/dev/null; }
timeouts "900 120 300" || fail "timeouts changed although nobody asks for it"
sed -i 's/^spec:/spec:\n  timeouts: {tcpSeconds: 777}/' site/group.yaml
within 60 "the group's timeouts are not set" timeouts "777 120 300"
echo "ok the group's timeouts are IPVS's"

expires() { [ "$(on d1 cat /proc/sys/net/ipv4/vs/expire_nodest_conn)" = "$1" ]; }
expires 1 || fail "connections to real servers that have gone are not forgotten"
on d1 ipvsadm -A -t 192.0.2.99:80 -s rr
rm site/direct-routing.yaml
within 40 "a deleted service is still there" \
  sh -c "! nsenter --net=/run/netns/d1 ipvsadm -Sn | grep -q $LAN.202"
on d1 ipvsadm -Sn | grep -q 192.0.2.99 || fail "another owner's service was removed"
get $LAN.203 >/dev/null || fail "deleting one service broke another"
echo "ok a deleted service is gone, the others and another owner's stay"
within 60 "settings of all of IPVS are kept although another owner has services there" expires 0
within 60 "timeouts are kept although another owner has services there" timeouts "900 120 300"
within 60 "nobody is told so" grep -q 'node SharedIpvs' /run/d1.log
echo "ok settings of all of IPVS are ours only while we are its only owner"

# Without CAP_PERFMON the kernel's verifier refuses programs. That is one dataplane of two.
kill -TERM "${agents[d1]}"
wait "${agents[d1]}" || fail "the agent of d1 did not end well"
service() {  # NAME VIP DATAPLANE
  cat <<END
apiVersion: kube-lvs.io/v1alpha1
kind: LVSService
metadata: {name: $1}
spec:
  addresses: [{type: IP, value: $LAN.$2}]
  ports: [{name: web, port: 80, targetPort: 8080}]
  dataplane: $3
  forwarding: {sourceNAT: Enabled}
  scheduler: {name: rr}
  backends: [{name: servers, static: [{address: $LAN.21}, {address: $LAN.22}, {address: $LAN.23}]}]
END
}
service by-ebpf 206 eBPF >site/by-ebpf.yaml
service by-ipvs 207 IPVS >site/by-ipvs.yaml
: >/run/d1.log
start_agent d1 setpriv --bounding-set=-perfmon,-sys_admin
refusal='the kernel refuses the program [a-z_0-9]*: .* (at [0-9]*: .*; run it with CAP_PERFMON"'
within 120 "nobody is told that the kernel refuses programs" grep "LVSService default/by-ebpf .*$refusal" /run/d1.log
grep "node Attachment.*$refusal" /run/d1.log >/dev/null || fail "the node has no such problem"
within 60 "IPVS does not go on where eBPF cannot be loaded" get $LAN.207
get $LAN.203 >/dev/null || fail "a service of IPVS went with eBPF"
! get $LAN.206 >/dev/null || fail "a service of eBPF is answered for without programs"
echo "ok programs that the kernel refuses are told with cause and mend, and IPVS goes on: $(
  grep -o "$refusal" /run/d1.log | head -1 | tr -d \")"
kill -TERM "${agents[d1]}"
wait "${agents[d1]}" || fail "the agent of d1 did not end well"
start_agent d1
within 240 "eBPF is not loaded with the right to it" get $LAN.206
expect_tally "NAT by eBPF, beside IPVS" $LAN.206 6 "r1 2,r2 2,r3 2,"

for machine in d1 r1 r2 r3; do
  kill -TERM "${agents[$machine]}" || fail "the agent of $machine ended by itself"
done
wait "${agents[@]}" || fail "an agent did not end well"
get $LAN.203 >/dev/null || fail "a stopped agent took its services along"
for machine in d1 r1 r2 r3; do
  on "$machine" ./kube-lvs-agent --cleanup --node-name "$machine" --bpf-dir "/sys/fs/bpf/$machine" \
    --state-dir "/run/$machine/state" --run-dir "/run/$machine/run" >>"/run/$machine.log" 2>&1 ||
    fail "--cleanup on $machine"
done
[ "$(rules)" = "-A -t 192.0.2.99:80 -s rr" ] || fail "--cleanup left rules, or took another's"
for machine in d1 r1 r2 r3; do
  [ -z "$(ip -n "$machine" addr show to $LAN.200/28)" ] || fail "--cleanup left a VIP on $machine"
  [ -z "$(on "$machine" nft list tables)" ] || fail "--cleanup left nftables on $machine"
done
echo "ok --cleanup leaves nothing but another owner's service"
