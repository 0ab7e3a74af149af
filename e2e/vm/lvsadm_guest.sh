#!/bin/bash
# Runs in a guest: gives the same command lines to ipvsadm and, by this name and by its own, to lvsadm,
# and compares what they print, their statuses, and the kernel's rules after each. Then each lists
# what the other wrote. Prints what differs.
#   lvsadm_guest.sh SEED RANDOM_LINES
set -uo pipefail
failed=0

fail() {
  echo "FAILED: $*"
  failed=1
}

# Gives every line to a program, which is called by the names in turn, and writes down what came of
# it: record FILE NAME...
record() {
  local file=$1 number=0 line command status name
  shift
  while IFS= read -r line; do
    number=$((number + 1))
    case $line in '#'* | '') continue ;; esac
    command=${line#[~=]}
    name=${*:1 + number % $#:1}
    case $line in =*) name=ipvsadm ;; esac
    eval "$name $command" >out 2>err </dev/null
    status=$?
    # Few processes: in emulation each costs as much as the command itself.
    if [ "$line" != "~$command" ]; then
      printf '## %s: %s\nstatus %s, prints:\n%s\nand says:\n%s\n' "$number" "$line" "$status" "$(<out)" "$(<err)" >&9
    else
      printf '## %s: %s\nstatus 0: %s\n' "$number" "$line" "$((status == 0))" >&9
    fi
    printf '%s\n' "$(</proc/net/ip_vs)" >&9
    if [ $((number % 50)) = 0 ]; then
      /bin/ipvsadm -Sn >&9 2>&1
      /bin/ipvsadm -Ln --thresholds --nosort >&9 2>&1
    fi
  done <commands.txt 9>"$file"
}

seed=$1 lines=$2
# lblc and lblcr not by the kernel itself, which can hang then.
modprobe -a ip_vs ip_vs_rr ip_vs_wrr ip_vs_wlc ip_vs_lblc ip_vs_lblcr
cat >/etc/nsswitch.conf <<'N'
hosts: files
services: files
N
printf '%s\n' '192.0.2.77 web.example' '10.0.0.77 rs.example' '2001:db8::77 six.example' \
  '192.0.2.78 a.very.long.name.of.a.host.that.does.not.fit.its.column.example' >/etc/hosts
printf '%s\n' 'http 80/tcp' 'http-alt 8080/tcp' 'domain 53/udp' 'sip 5060/udp' 'sip 5060/sctp' >/etc/services
mkdir -p ipvsadm.d lvsadm.d drop-in.d
ln -s /bin/ipvsadm ipvsadm.d/ipvsadm
ln -s /test/lvsadm lvsadm.d/lvsadm
for name in ipvsadm ipvsadm-save ipvsadm-restore; do ln -s /test/lvsadm drop-in.d/$name; done

# -- random lines: mostly sensible, of few services and servers so that they meet
RANDOM=$seed
pick() {
  local -n of=$1
  picked=${of[RANDOM % ${#of[@]}]}
}
# shellcheck disable=SC2034  # pools are read by name
services=("-t 192.0.2.1:80" "-t 192.0.2.1:81" "-u 192.0.2.1:53" "-f 5" "-f 6 -6" "-t [2001:db8::1]:80"
  "--sctp-service 192.0.2.1:80" "-t 192.0.2.2:0" "-t web.example:http" "-t 192.0.2.1" "-t nosuch:1")
# shellcheck disable=SC2034
servers=("-r 10.0.0.1" "-r 10.0.0.1:80" "-r 10.0.0.2:8080" "-r [2001:db8::2]:80" "-r 2001:db8::3" "-r 10.0.0.3"
  "-r rs.example" "-r rs.example:http" "-r x:y")
# shellcheck disable=SC2034
service_options=("-s rr" "-s wrr" "-s sh" "-s mh" "-s lc" "-p" "-p 60" "-p 600" "-M 255.255.0.0" "-M 64" "-o" "--pe sip"
  "-b sh-port" "-b mh-port" "-b flag-1" "-b sh-port,sh-fallback" "-s nosuch" "-n" "-w 1")
# shellcheck disable=SC2034
server_options=("-m" "-g" "-i" "-m" "-w 0" "-w 1" "-w 100" "-x 10" "-x 5 -y 3" "-y 9" "--tun-type gre" "--tun-type gue"
  "--tun-port 6080" "--tun-csum" "--tun-nocsum" "--tun-remcsum" "-i --tun-type gue --tun-port 7000" "-s rr" "-w x")
# shellcheck disable=SC2034
list_options=("-n" "-n" "--stats" "--rate" "--exact" "--thresholds" "--persistent-conn" "--tun-info" "--nosort" "--sort" "-c"
  "--timeout" "--daemon" "-X")
options() {  # POOL MOST
  local i most=$((RANDOM % ($2 + 1)))
  for ((i = 0; i < most; i++)); do
    pick "$1"
    line+=" $picked"
  done
}
random_line() {
  case $((RANDOM % 16)) in
    0 | 1 | 2) line=-A && pick services && line+=" $picked" && options service_options 4 ;;
    3) line=-E && pick services && line+=" $picked" && options service_options 3 ;;
    4 | 5 | 6 | 7) line=-a && pick services && line+=" $picked" && pick servers && line+=" $picked" && options server_options 4 ;;
    8 | 9) line=-e && pick services && line+=" $picked" && pick servers && line+=" $picked" && options server_options 3 ;;
    10) line=-d && pick services && line+=" $picked" && pick servers && line+=" $picked" ;;
    11) if ((RANDOM % 8)); then line=-D && pick services && line+=" $picked"; else line=-C; fi ;;
    12 | 13) line=-L && if ((RANDOM % 3 == 0)); then pick services && line+=" $picked"; fi && options list_options 3 ;;
    14) line=-S && options list_options 1 ;;
    15) line=-Z && if ((RANDOM % 2)); then pick services && line+=" $picked"; fi ;;
  esac
}
{
  cat lvsadm_commands.txt
  for ((i = 0; i < lines; i++)); do
    random_line
    echo "$line"
  done
} >commands.txt
echo "$(grep -vc '^#' commands.txt) command lines, of which $lines random ones with seed $seed"

# -- first ipvsadm, then lvsadm, here and not in namespaces, whose tables have other orders
ip link set lo up
PATH=/test/ipvsadm.d:$PATH record theirs.txt ipvsadm
/bin/ipvsadm -C
/bin/ipvsadm --set 900 120 300
PATH=/test/drop-in.d:/test/lvsadm.d:$PATH record ours.txt ipvsadm lvsadm
/bin/ipvsadm -C
[ "$(grep -c '^## ' theirs.txt)" = "$(grep -vc '^#' commands.txt)" ] || fail "not every line had its turn"
# Under its own name lvsadm says more, in lines of their own.
sed '/^lvsadm: /d; s/\blvsadm\b/ipvsadm/g' ours.txt >ours.named
diff -U 12 theirs.txt ours.named >differences || {
  fail "lvsadm (+) is unlike ipvsadm (-):"
  head -n 300 differences
}
for name in a b; do ip netns add $name && ip -n $name link set lo up; done

# -- each lists what the other wrote, with connections and counters in it
on() { local name=$1 && shift && nsenter --net="/run/netns/$name" "$@"; }
ours() { local name=$1 && shift && on "$name" /test/drop-in.d/ipvsadm "$@"; }
theirs() { local name=$1 && shift && on "$name" /bin/ipvsadm "$@"; }
for name in a b; do
  write=theirs
  [ $name = b ] && write=ours
  $write $name -C
  on $name ip addr add 192.0.2.1/32 dev lo
  $write $name -R <<'R'
-A -u 192.0.2.1:53 -s rr
-a -u 192.0.2.1:53 -r 127.0.0.1:5353 -m -w 2 -x 9 -y 4
-A -u 192.0.2.1:5060 -s wrr --pe sip -p 60
-a -u 192.0.2.1:5060 -r 127.0.0.1:5061 -m
-A -t 192.0.2.1:80 -s mh -b mh-port -p 60 -M 255.255.0.0
-a -t 192.0.2.1:80 -r 10.0.0.1 -i --tun-type gue --tun-port 6080 --tun-csum
-a -t 192.0.2.1:80 -r 10.0.0.2 -i --tun-type gre
-A -f 7 -6 -s sh
-a -f 7 -6 -r 10.0.0.3 -i
-A -f 8
-a -f 8 -r rs.example
R
  for ((i = 0; i < 5; i++)); do on $name bash -c 'echo hello >/dev/udp/192.0.2.1/53'; done
  # The kernel publishes its counters every two seconds.
  for ((i = 0; i < 100; i++)); do
    theirs $name -Ln --stats -u 192.0.2.1:53 | grep -q '^UDP .* 5 ' && break
    sleep 0.2
  done
  theirs $name -Ln --stats -u 192.0.2.1:53 | grep -q '^UDP .* 5 ' || fail "five datagrams were not counted in $name"
  [ "$(theirs $name -Lnc | grep -c '^UDP')" -ge 5 ] || fail "no connections in $name"
  for options in -L -Ln -Sn -S '-Ln --stats' '-Ln --stats -X' '-Ln --rate' '-Ln --thresholds' '-Ln --persistent-conn' \
    '-Ln --tun-info' '-Ln --nosort' -Lc -Lnc '-Lnc --persistent-conn' '-Ln -u 192.0.2.1:53' '-L --timeout'; do
    # Again when a rate changed between the two. The seconds that a connection has left always do.
    for ((i = 0; i < 5; i++)); do
      # shellcheck disable=SC2086  # options are words
      theirs $name $options >wanted 2>&1
      # shellcheck disable=SC2086
      ours $name $options >got 2>&1
      sed -i 's/^\(UDP [0-9]*\):[0-9][0-9]/\1:ss/' wanted got
      cmp -s wanted got && break
    done
    cmp -s wanted got || { fail "in $name, $options (- ipvsadm, + lvsadm):" && diff -U 3 wanted got; }
  done
done

# -- saved by one, restored by the other; thresholds only by lvsadm-save
theirs a -Sn >saved.theirs
ours a -Sn >saved.ours
on a /test/drop-in.d/ipvsadm-save -n >saved.script
ln -s /test/lvsadm lvsadm.d/lvsadm-save && ln -s /test/lvsadm lvsadm.d/lvsadm-restore
on a /test/lvsadm.d/lvsadm-save -n >saved.full
cmp -s saved.theirs saved.script || fail "ipvsadm-save"
grep -q -- '-x 9 -y 4' saved.full || fail "lvsadm-save has no thresholds"
for reader in ours theirs; do
  for file in saved.theirs saved.ours saved.full; do
    $reader a -C
    $reader a -R <$file || fail "$reader -R of $file"
    theirs a -Sn | cmp -s - saved.theirs || fail "$reader -R of $file made other rules"
  done
done
on a /test/drop-in.d/ipvsadm-restore <saved.script || fail "ipvsadm-restore"
theirs a -Sn | cmp -s - saved.theirs || fail "ipvsadm-restore made other rules"
if on a /test/lvsadm.d/lvsadm-restore <<<'-A -t 192.0.2.9' 2>/dev/null; then fail "lvsadm-restore of a bad line"; fi
theirs a -Sn | cmp -s - saved.theirs || fail "lvsadm-restore of a bad line changed rules"
on a /test/lvsadm.d/lvsadm-restore <saved.full || fail "lvsadm-restore"
theirs a -Ln --thresholds | grep -q '127.0.0.1:5353 *9 *4 ' || fail "lvsadm-restore lost thresholds"

# -- what ipvsadm has not
on a ./lvsadm -L -o json | grep -q '"name": "ipvs"' || fail "-o json"
# Its own process, so that the signal reaches it.
nsenter --net=/run/netns/a ./lvsadm --watch 0.2 -n >watched 2>&1 &
watcher=$!
for ((i = 0; i < 100; i++)); do
  [ "$(grep -c '^lvsadm, every' watched)" -ge 2 ] && break
  sleep 0.2
done
kill -INT $watcher
wait $watcher || fail "--watch ended with status $?"
grep -q 'UDP 192.0.2.1:53 rr' watched || { fail "--watch without a terminal:" && head -n 30 watched; }
exit $failed
