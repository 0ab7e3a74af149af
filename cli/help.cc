#include "cli/help.h"

#include <string_view>

namespace kube_lvs::cli {
namespace {

// "@" stands for the program's name.
constexpr std::string_view kUsage = R"(Usage:
  @ -A|E virtual-service [-s scheduler] [-p [timeout]] [-M netmask] [--pe engine] [-b flags] [-o]
  @ -D virtual-service
  @ -a|e virtual-service -r real-server [-g|-i|-m] [-w weight] [-x upper] [-y lower] [tunnel options]
  @ -d virtual-service -r real-server
  @ -L|l [virtual-service] [listing options]
  @ -Z [virtual-service]
  @ -C
  @ -S [-n]
  @ -R
  @ --set tcp tcpfin udp
  @ --start-daemon master|backup [daemon options]
  @ --stop-daemon master|backup
  @ -h|-v

Commands (the first option on the line):
  -A --add-service      -E --edit-service     -D --delete-service
  -a --add-server       -e --edit-server      -d --delete-server
  -L -l --list          -Z --zero             -C --clear
  -S --save             rules to stdout, as -R takes them
  -R --restore          commands from stdin, one a line, without the program's name
     --set              idle seconds of TCP, of TCP after a FIN, and of UDP; 0 keeps a value
     --start-daemon     start copying connections to (master) or from (backup) other directors
     --stop-daemon
  -h --help             -v --version

virtual-service, one of:
  -t --tcp-service   host[:port]       -u --udp-service  host[:port]
     --sctp-service  host[:port]       -f --fwmark-service  mark  [-6 --ipv6, after it]
  An IPv6 address with a port is written [2001:db8::1]:80.

Options of virtual services:
  -s --scheduler    rr wrr lc wlc lblc lblcr dh sh sed nq fo ovf mh, as the kernel has; default wlc
  -p --persistent   a client stays with its real server for so many seconds (360)
  -M --netmask      clients of one network stay together: a mask, of IPv6 a prefix length
     --pe           persistence engine: sip
  -b --sched-flags  sh-fallback sh-port mh-fallback mh-port flag-1 flag-2 flag-3, with commas
                    eBPF, too: mh-table-size=65521, fewer clients move when a real server goes
  -o --ops          schedule every packet by itself (UDP)

Options of real servers (-r --real-server host[:port]):
  -g --gatewaying   direct routing, the default
  -m --masquerading NAT; the port may be another one
  -i --ipip         tunnel: --tun-type ipip|gue|gre (ipip), --tun-port (gue),
                    --tun-nocsum | --tun-csum (gue, gre) | --tun-remcsum (gue)
  -w --weight       0 sends it no new connections; default 1
  -x --u-threshold  at so many connections it gets no more
  -y --l-threshold  until it has fewer than so many

Options of listings:
  -n --numeric      no names of hosts and ports
  -c --connection   connections instead of services
     --timeout --daemon                 the values of --set; the sync daemons
     --stats --rate                     counters; per second
  -X --exact        no K, M, G, T
     --thresholds --persistent-conn --tun-info
     --nosort       in the kernel's order; --sort is the default

Options of daemons:
     --syncid 0-255 --mcast-interface NAME (eth0) --mcast-group ADDRESS (224.0.0.81)
     --mcast-port PORT (8848) --mcast-ttl 1-255 (1) --sync-maxlen BYTES
)";

constexpr std::string_view kExtensions = R"(
What ipvsadm has not:
     --dataplane ipvs|ebpf   list, save or change one of them. Without it both are listed, and the
                             others are for ipvs or, where the kernel has none, for an eBPF dataplane
                             of lvsadm's own in this network namespace: -A makes it, -C takes it off
     --watch [SECONDS]       list again every 2 (or SECONDS) seconds, with rates and bars, till Ctrl-C
  -o json, --output json     for programs (with -L); the names are described in lvsadm(8)
     --full                  with -S: thresholds too, and marks above 2147483647 as -R takes them
     --trace CLIENT:PORT,VIP:PORT[,udp|,sctp]   which real server eBPF would send this client to,
                             and why; nothing is sent, counted or remembered
     --drops [SECONDS]       packets that eBPF drops and why, as it happens, till Ctrl-C or for SECONDS:
                             all are counted, up to 50 a second of each CPU are shown
     --bpf-dir DIR           where the agent pins its maps (/sys/fs/bpf/kube-lvs)
     --state-dir DIR         where the agent keeps its journal (/var/lib/kube-lvs): who changes one
                             of its services is warned that it will be put back

Examples:
  @ -Ln                                             what is there
  @ --watch -n                                      and what it does
  @ -A -t 192.0.2.1:80 -s wrr                       a virtual service
  @ -a -t 192.0.2.1:80 -r 10.0.0.1:8080 -m -w 3     a real server, by NAT
  @ -e -t 192.0.2.1:80 -r 10.0.0.1:8080 -m -w 0     no new connections for it
  @ -Sn --full >rules; @ -R <rules                  save and restore
)";

std::string Named(std::string_view text, const std::string& program) {
  std::string out;
  for (const char c : text) {
    if (c == '@') {
      out += program;
    } else {
      out += c;
    }
  }
  return out;
}

}  // namespace

std::string Help(const Dialect& dialect) {
  std::string out = Version(dialect) + Named(kUsage, dialect.program);
  if (dialect.extensions) out += Named(kExtensions, "lvsadm");
  return out;
}

std::string Version(const Dialect& dialect) {
  if (dialect.extensions) return "lvsadm 0.1.0 (kube-lvs), with the options of ipvsadm v1.31\n";
  return "ipvsadm v1.31 2019/12/24 (compiled with popt and IPVS v1.2.1)\n";
}

}  // namespace kube_lvs::cli
