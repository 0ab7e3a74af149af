#!/bin/bash
# Runs in a guest: a client, a router, two directors with an agent each, and two real servers. Prints
# "ok ..." a case; the first that fails ends it.
#
# The real servers' default gateway is the VIP of the NAT service: whoever answers for it is the way
# back, so that NAT needs no source NAT and its connections can go on at another director.
set -euo pipefail
LAN=10.77.0
# shellcheck disable=SC2034  # for site.sh
declare -A address=([router]=254 [d1]=11 [d2]=12 [r1]=21 [r2]=22)
# shellcheck source=e2e/vm/site.sh
. ./site.sh
# By the hash of VIP and members d1 answers for all of these but $other.
nat=$LAN.202 direct=$LAN.203 other=$LAN.201 nat6=${LAN6}203 direct6=${LAN6}207
vips=("$nat" "$direct" "$other" "$nat6" "$direct6")
connections=4  # to each

fail() {
  echo "FAILED: $*"
  for machine in d1 d2; do
    echo "-- $machine" && on "$machine" ipvsadm -Ln
    on "$machine" ipvsadm -Lnc | sort | head -n 20
    on "$machine" ipvsadm -L --daemon
    ip -n "$machine" -brief addr
    tail -n 12 "/run/$machine.log"
  done
  ip -n router neigh
  echo "-- kernel" && dmesg | tail -n 8
  exit 1
}

group() {  # CONNECTION_SYNC
  cat >next.yaml <<Y
apiVersion: kube-lvs.io/v1alpha1
kind: LVSDirectorGroup
metadata: {name: default}
spec:
  dataplane: IPVS
  connectionSync: $1
  failover: {heartbeatIntervalMilliseconds: 500, missedHeartbeats: 6}  # agents are slow in emulation
  staticBackends: {allowedRanges: [$LAN.0/24, "$LAN6/64"]}
status:
  epoch: 1
  members: [{node: d1, address: $LAN.11}, {node: d2, address: $LAN.12}]
Y
  mv next.yaml site/group.yaml
}

service() {  # NAME VIP FORWARDING [MORE]
  local network=$LAN. more_ports=
  case $2 in *:*) network=$LAN6 ;; esac
  [ "$1" != nat ] || more_ports=', {name: associations, protocol: SCTP, port: 80}'
  cat >"site/$1.yaml" <<Y
apiVersion: kube-lvs.io/v1alpha1
kind: LVSService
metadata: {name: $1, namespace: default}
spec:
  addresses: [{type: IP, value: "$2"}]
  ports: [{name: echo, port: 80}, {name: datagrams, protocol: UDP, port: 80}$more_ports]
  forwarding: $3
  ${4:-}
  scheduler: {name: rr}
  backends: [{name: servers, static: [{address: "${network}21"}, {address: "${network}22"}]}]
Y
}

client() {  # COMMAND...: its answer
  local answer
  echo "$*" >&"${CLIENT[1]}"
  read -r answer <&"${CLIENT[0]}" || answer="the client died"
  echo "$answer"
}
expect() {  # WHAT COMMAND...: that the client answers ok
  local what=$1 answer
  shift
  answer=$(client "$@")
  [ "$answer" = ok ] || fail "$what: $answer"
}
answers() { ip -n "$1" -brief addr show dev eth0 | grep -q "$2/"; }  # MACHINE VIP: whether it has it
# An address outlives its director's death, though not the right to answer for it.
d1_alone() { answers d1 "$1" && ! answers d2 "$1"; }  # VIP
copies() {  # MACHINE NUMBER: whether it holds so many established connections
  [ "$(on "$1" grep -c ESTABLISHED /proc/net/ip_vs_conn)" = "$2" ]
}
has_line() { on "$1" grep -q "$2" /proc/net/ip_vs_conn; }  # MACHINE PATTERN: of its connections
reachable() { [ "$(client new "$1" 80)" != nobody ]; }
daemons() { on "$1" ipvsadm -L --daemon | sed 's/ (.*//' | sort | tr '\n' ','; }
both_run() { [ "$(daemons d1)$(daemons d2)" = "backup sync daemon,master sync daemon,backup sync daemon,master sync daemon," ]; }
none_runs() { [ -z "$(daemons d1)$(daemons d2)" ]; }
die() {  # as if its power had gone; the kernel's rules stay, unreached
  ip -n lan link set p-d1 down
  { kill -KILL "${agents[d1]}" && wait "${agents[d1]}"; } 2>/dev/null || :
}

make_site
for machine in r1 r2; do
  printf '#!/bin/bash\nwhile read -r line; do echo %s; done\n' "$machine" >"echo-$machine"
  chmod +x "echo-$machine"
  on "$machine" sh -c 'cd /proc/sys/net/ipv4/conf/all && echo 1 >arp_ignore && echo 2 >arp_announce'
  ip -n "$machine" addr add "$direct/32" dev lo
  ip -n "$machine" addr add "$other/32" dev lo
  ip -n "$machine" addr add "$direct6/128" dev lo
  ip -n "$machine" route replace default via $nat
  ip -n "$machine" route replace default via "$nat6"
  # Direct return is not the directors' business.
  for vip in "$direct" "$other"; do ip -n "$machine" rule add from "$vip" table 100; done
  ip -n "$machine" -6 rule add from "$direct6" table 100
  ip -n "$machine" route add default via $LAN.254 table 100
  ip -n "$machine" route add default via "${LAN6}254" table 100
  # Bound to one address: it would tell its clients of the others, too, which are VIPs.
  on "$machine" /test/socat "SCTP-LISTEN:80,bind=$LAN.${address[$machine]},fork" "EXEC:/test/echo-$machine" &
  on "$machine" busybox nc -ll -p 80 -e "/test/echo-$machine" &
done
mkdir site
service nat $nat '{method: NAT, sourceNAT: Disabled}'
service direct $direct '{method: DirectRouting}'
service nat6 "$nat6" '{method: NAT, sourceNAT: Disabled}'
service direct6 "$direct6" '{method: DirectRouting}'
service other $other '{method: DirectRouting}' 'persistence: {timeoutSeconds: 300}'
group Enabled
modprobe -a ip_vs ip_vs_rr nf_tables sctp
for machine in d1 d2; do start_agent "$machine"; done
coproc CLIENT { on client bash ./takeover_client.sh; }
# To the client a connection through it is TCP.
on client /test/socat TCP-LISTEN:9080,bind=127.0.0.1,fork "SCTP:$nat:80" &
for vip in "${vips[@]}"; do within 240 "VIP $vip never answered" reachable "$vip"; done
within 60 "the sync daemons do not run on both directors" both_run
# Who started first may have all of them for a moment.
for vip in $nat $direct "$nat6" "$direct6"; do within 60 "d1 does not answer for $vip" answers d1 "$vip"; done
within 60 "d2 does not answer for $other" answers d2 $other
for machine in d1 d2; do
  [ "$(on $machine cat /proc/sys/net/ipv4/vs/sync_refresh_period)" = 30 ] ||
    fail "sync_refresh_period of $machine"
  [ "$(on $machine cat /proc/sys/net/ipv4/vs/sync_threshold)" = "0	0" ] || fail "sync_threshold of $machine"
done
echo "ok both directors send their connections and take the other's:" && on d1 ipvsadm -L --daemon

for vip in "${vips[@]}"; do expect "opening" open "$vip" 80 $connections; done
expect "opening of SCTP" open 127.0.0.1 9080 $connections
for machine in d1 d2; do
  within 20 "not all connections are at $machine" copies $machine $(((${#vips[@]} + 1) * connections))
done
# d2 answers for this one, and a template is of port 0.
within 20 "no persistence template is at d1" has_line d1 '^TCP [0-9A-F]* 0000 '
on client bash -c "echo x >/dev/udp/$nat/80"
within 20 "a UDP connection is not at d2" has_line d2 '^UDP '
echo "ok fresh connections are known to both after their first exchange" && on d2 ipvsadm -Lnc

die
for vip in "${vips[@]}"; do within 60 "d2 does not answer for $vip" answers d2 "$vip"; done
expect "after d1 died" ask
expect "after d1 died, once more" ask
for vip in "${vips[@]}"; do reachable "$vip" || fail "no new connections to $vip"; done
echo "ok d1 died, and its connections go on through d2, to the same real servers"

ip -n lan link set p-d1 up
start_agent d1
for vip in $nat $direct "$nat6" "$direct6"; do within 60 "d1 does not take $vip back" d1_alone "$vip"; done
expect "after d1 came back" ask
echo "ok d1 came back, and they go on through d1"
expect "closing" close

group Disabled
within 60 "daemons still run although nobody wants them" none_runs
[ "$(on d1 cat /proc/sys/net/ipv4/vs/sync_threshold)" = "3	50" ] || fail "sync_threshold was not put back"
echo "ok without connectionSync there are no daemons"
# The real servers' replies go by $nat, too, and nobody but d1 knows the connections now.
within 60 "no new connections to $nat through d1" reachable $nat
expect "opening" open $nat 80 1
die
within 60 "d2 does not answer for $nat" answers d2 $nat
[ "$(client ask)" != ok ] || fail "a connection outlived its director although nobody told the other of it"
reachable $nat || fail "no new connections to $nat"
echo "ok and a connection ends with its director"

kill -TERM "${agents[d2]}"
wait "${agents[d2]}" || fail "the agent of d2 did not end well"
