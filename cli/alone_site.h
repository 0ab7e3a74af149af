// A site of network namespaces whose director has lvsadm alone: no agent, no pins, no forwarding.
#pragma once

#include <gtest/gtest.h>
#include <sys/types.h>

#include <cstdint>
#include <cstdio>
#include <map>
#include <memory>
#include <string>
#include <thread>

#include "base/ip.h"
#include "base/unique_fd.h"
#include "dataplane/ebpf/testing/namespaces.h"

namespace kube_lvs::cli {

using ebpf::Namespace;

inline constexpr char kVip[] = "192.0.2.1";
inline constexpr char kVip6[] = "2001:db8::1";

struct Ran {
  int status = -1;
  std::string output;  // both streams
};

// A shell's commands in a namespace, as `ip netns exec` runs them: with a /sys of their own, in
// which no BPF file system is mounted.
Ran Shell(const Namespace& where, const std::string& commands);

Ran Lvsadm(const Namespace& where, const std::string& options);

// lvsadm that goes on, until it is interrupted; its output by lines.
class Watching {
 public:
  Watching(const Namespace& where, const std::string& options);
  ~Watching();
  Watching(const Watching&) = delete;

  std::string Line();
  void Interrupt();

 private:
  FILE* pipe_ = nullptr;
  pid_t pid_ = 0;
};

// Says "NAME sees CLIENT" to each connection, and to each datagram.
class Server {
 public:
  Server(const Namespace& where, std::string name, int type, uint16_t port,
         const std::string& ip = "0.0.0.0");

 private:
  void Run(const std::stop_token& stop);

  std::string name_;
  int type_;
  UniqueFd socket_;
  std::jthread thread_;
};

// What a server says to a client of the VIP; "refused" or "silence".
std::string Ask(const Namespace& client, int type, uint16_t port = 80,
                const std::string& vip = kVip);

// How many got which answer.
using Answers = std::map<std::string, int>;
Answers AskTenTimes(const Namespace& client, int type, const std::string& vip = kVip);

// client 172.16.0.2 --+-- director 172.16.0.1, 10.0.0.1, and the VIP on its lo
//     (switch)        +-- real servers 10.0.0.11, 10.0.0.12
class AloneTest : public testing::Test {
 protected:
  AloneTest();

  // The real servers as DirectRouting wants them: the VIP, silent.
  void GiveVipToReals();

  // As the constructor, of IPv6: fd00:c::/64 is the clients' network, fd00:a::/64 that of the real
  // servers.
  void GiveIpv6();

  // One service and both real servers; `-t 192.0.2.1:80` or `-u ...`.
  void Balance(const std::string& service, const std::string& real_options);

  // Ten connections of the client.
  Answers AskTenTimes(int type, const std::string& vip = kVip) {
    return cli::AskTenTimes(client_, type, vip);
  }

  Namespace switch_;
  Namespace client_;
  std::unique_ptr<Namespace> director_;
  Namespace real1_;
  Namespace real2_;
};

}  // namespace kube_lvs::cli
