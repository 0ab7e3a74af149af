#include "dataplane/ebpf/testing/tcp.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include <array>
#include <utility>
#include <vector>

#include "dataplane/ebpf/testing/sockets.h"

namespace kube_lvs::ebpf {
namespace {

constexpr int kSeconds = 3;

struct Connection {
  UniqueFd fd;
  std::string client;
  std::string request;

  // Whether there is more of the request to come.
  bool Receive() {
    std::array<char, 65536> buffer;
    const ssize_t got = recv(fd.get(), buffer.data(), buffer.size(), 0);
    if (got <= 0) return false;
    request.append(buffer.data(), static_cast<size_t>(got));
    return !request.ends_with('\n');
  }
};

}  // namespace

TcpServer::TcpServer(const Namespace& where, std::string name, const Endpoint& at)
    : name_(std::move(name)), listener_(Listen(where, at)), end_(eventfd(0, EFD_CLOEXEC)) {
  thread_ = std::thread([this] { Run(); });
}

TcpServer::~TcpServer() {
  eventfd_write(end_.get(), 1);
  thread_.join();
}

void TcpServer::Run() {
  std::vector<Connection> open;
  while (true) {
    std::vector<pollfd> waits = {{end_.get(), POLLIN, 0}, {listener_.get(), POLLIN, 0}};
    for (const Connection& connection : open) waits.push_back({connection.fd.get(), POLLIN, 0});
    if (poll(waits.data(), waits.size(), -1) < 0) continue;
    if (waits[0].revents != 0) return;
    for (size_t i = open.size(); i-- > 0;) {
      Connection& connection = open[i];
      if (waits[i + 2].revents == 0 || connection.Receive()) continue;
      if (connection.request.ends_with('\n')) {
        const std::string answer = name_ + " sees " + connection.client + "\n" + connection.request;
        send(connection.fd.get(), answer.data(), answer.size(), MSG_NOSIGNAL);
      }
      open.erase(open.begin() + static_cast<std::ptrdiff_t>(i));
    }
    if (waits[1].revents == 0) continue;
    SocketAddress from;
    UniqueFd fd(accept4(listener_.get(), from.Get(), &from.size, SOCK_CLOEXEC));
    if (!fd.ok()) continue;
    LimitWaits(fd, kSeconds);
    open.push_back({std::move(fd), from.ToEndpoint().ip.ToString(), ""});
  }
}

std::string AskTcp(const Namespace& from, const Endpoint& to, const std::string& request) {
  const UniqueFd connection = NewSocket(from, to.ip.family, SOCK_STREAM);
  LimitWaits(connection, kSeconds);
  const SocketAddress address(to);
  if (connect(connection.get(), address.Get(), address.size) != 0) return "";
  if (send(connection.get(), request.data(), request.size(), MSG_NOSIGNAL) < 0) return "";
  std::string answer;
  std::array<char, 65536> buffer;
  ssize_t got = 0;
  while ((got = recv(connection.get(), buffer.data(), buffer.size(), 0)) > 0) {
    answer.append(buffer.data(), static_cast<size_t>(got));
  }
  return answer;
}

}  // namespace kube_lvs::ebpf
