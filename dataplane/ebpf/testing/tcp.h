// TCP between namespaces by real sockets.
#pragma once

#include <string>
#include <thread>

#include "base/ip.h"
#include "base/unique_fd.h"
#include "dataplane/ebpf/testing/namespaces.h"

namespace kube_lvs::ebpf {

// Answers the first line of each connection by "NAME sees CLIENT", and then by that line; a
// connection that says nothing holds up no other. Aborts if the port is taken. Ends with the
// object.
class TcpServer {
 public:
  TcpServer(const Namespace& where, std::string name, const Endpoint& at);
  ~TcpServer();

 private:
  void Run();

  std::string name_;
  UniqueFd listener_;
  UniqueFd end_;
  std::thread thread_;
};

// One connection: sends the line `request`, returns all that is answered, "" if there is nothing in
// 3 s. Not bound to any address: the kernel chooses.
std::string AskTcp(const Namespace& from, const Endpoint& to, const std::string& request);

}  // namespace kube_lvs::ebpf
