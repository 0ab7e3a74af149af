#!/bin/bash
# Runs in the client's namespace, and keeps its TCP connections open between the commands that it reads,
# a line each, and answers by a line:
#   open VIP PORT N   opens N connections; each asks once. "ok", or what went wrong
#   ask               on all that are open: the server of each must answer, and be the same. As above
#   close             all of them. "ok"
#   new VIP PORT      who answers a new connection, which is closed again; "nobody"
fds=() servers=()

# shellcheck disable=SC2162  # the answer has no backslashes
converse() {  # FD: sets server
  server=nobody
  echo hello >&"$1" && read -t 40 server <&"$1"
}

connect() {  # VIP PORT: sets fd
  exec {fd}<>"/dev/tcp/$1/$2"
}

trap '' PIPE
while read -r command vip port count; do
  answer=ok
  case $command in
    open)
      for ((i = 0; i < count; i++)); do
        if connect "$vip" "$port" && converse "$fd"; then
          fds+=("$fd") servers+=("$server")
        else
          answer="connection $i to $vip:$port got no answer"
        fi
      done
      ;;
    ask)
      for i in "${!fds[@]}"; do
        if ! converse "${fds[i]}"; then
          answer="connection $i, of ${servers[i]}, is dead"
        elif [ "$server" != "${servers[i]}" ]; then
          answer="connection $i was of ${servers[i]}, and $server answers"
        fi
      done
      ;;
    close)
      for fd in "${fds[@]}"; do exec {fd}>&-; done
      fds=() servers=()
      ;;
    new)
      answer=nobody
      # In a shell of its own, which ends also where nobody answers the SYN.
      # shellcheck disable=SC2016  # for the inner shell
      answer=$(timeout 10 bash -c 'exec 3<>"/dev/tcp/$0/$1" && echo hello >&3 && read -r who <&3 && echo "$who"' \
        "$vip" "$port") || answer=nobody
      ;;
  esac 2>/dev/null
  echo "$answer"
done
