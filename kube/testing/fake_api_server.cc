#include "kube/testing/fake_api_server.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <list>
#include <mutex>
#include <nlohmann/json.hpp>
#include <optional>
#include <stop_token>
#include <thread>

#include "base/unique_fd.h"
#include "kube/testing/fake_api.h"

namespace kube_lvs::kube {
namespace {

using SteadyClock = std::chrono::steady_clock;

constexpr size_t kMaxRequest = 8u << 20;

bool WriteAll(int fd, const std::string& bytes) {
  size_t sent = 0;
  while (sent < bytes.size()) {
    const ssize_t n = send(fd, bytes.data() + sent, bytes.size() - sent, MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    sent += static_cast<size_t>(n);
  }
  return true;
}

bool PeerIsGone(int fd) {
  char byte = 0;
  const ssize_t n = recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
  return n == 0 || (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR);
}

std::string Head(const FakeResponse& response) {
  std::string head = "HTTP/1.1 " + std::to_string(response.status) + " Fake\r\n";
  head += "Content-Type: " + response.content_type + "\r\n";
  for (const auto& [name, value] : response.headers) head += name + ": " + value + "\r\n";
  return head;
}

std::string Whole(const FakeResponse& response) {
  return Head(response) + "Content-Length: " + std::to_string(response.body.size()) + "\r\n\r\n" +
         response.body;
}

std::string Chunk(const std::string& bytes) {
  char size[20];
  std::snprintf(size, sizeof(size), "%zx\r\n", bytes.size());
  return size + bytes + "\r\n";
}

std::string LowerHeader(const std::string& head, const std::string& name) {
  std::string lower = head;
  std::transform(lower.begin(), lower.end(), lower.begin(),
                 [](unsigned char c) { return std::tolower(c); });
  const size_t at = lower.find("\r\n" + name + ":");
  if (at == std::string::npos) return "";
  const size_t start = at + 2 + name.size() + 1;
  std::string value = head.substr(start, head.find("\r\n", start) - start);
  value.erase(0, value.find_first_not_of(' '));
  return value;
}

struct HttpIn {
  FakeRequest request;
  std::string authorization;
};

class Server final : public FakeApiServer {
 public:
  Server(Options options, UniqueFd listener, uint16_t port)
      : options_(std::move(options)),
        api_(options_.resources, options_.list_maps),
        token_(options_.token),
        listener_(std::move(listener)),
        port_(port),
        acceptor_([this](const std::stop_token& stop) { Accept(stop); }) {}

  ~Server() override {
    acceptor_.request_stop();
    shutdown(listener_.get(), SHUT_RDWR);
    acceptor_.join();
    std::list<Connection> connections;
    {
      const std::lock_guard<std::mutex> lock(mu_);
      connections.swap(connections_);
      for (Connection& connection : connections) {
        connection.thread.request_stop();
        shutdown(connection.fd.get(), SHUT_RDWR);
      }
    }
  }

  ClientConfig Config() const override {
    ClientConfig config;
    config.server = Url();
    const std::lock_guard<std::mutex> lock(mu_);
    config.token = token_;
    return config;
  }

  std::string Url() const override {
    return (options_.ipv6 ? "http://[::1]:" : "http://127.0.0.1:") + std::to_string(port_);
  }

  void Inject(Fault fault) override {
    const std::lock_guard<std::mutex> lock(mu_);
    faults_.push_back(std::move(fault));
  }

  void ClearFaults() override {
    const std::lock_guard<std::mutex> lock(mu_);
    faults_.clear();
  }

  void CloseConnections() override { Close(/*idle_only=*/false); }
  void CloseIdleConnections() override { Close(/*idle_only=*/true); }
  void Compact() override { api_.Compact(); }

  void SetToken(std::string token) override {
    const std::lock_guard<std::mutex> lock(mu_);
    token_ = std::move(token);
  }

  void Put(const Resource& resource, const nlohmann::json& object) override {
    api_.Put(resource, object);
  }
  void Remove(const Resource& resource, const ObjectName& object) override {
    api_.Remove(resource, object);
  }
  absl::StatusOr<nlohmann::json> Read(const Resource& resource,
                                      const ObjectName& object) const override {
    return api_.Read(resource, object);
  }
  void AddResource(const Resource& resource) override { api_.AddResource(resource); }
  void RemoveResource(const Resource& resource) override { api_.RemoveResource(resource); }

  std::vector<std::string> Requests() const override {
    const std::lock_guard<std::mutex> lock(mu_);
    return requests_;
  }

 private:
  struct Connection {
    UniqueFd fd;
    bool busy = false;   // guarded by mu_
    bool ended = false;  // guarded by mu_
    std::jthread thread = {};
  };

  void Accept(const std::stop_token& stop) {
    while (!stop.stop_requested()) {
      UniqueFd fd(accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
      if (!fd.ok()) {
        if (errno == EINTR || errno == ECONNABORTED) continue;
        return;
      }
      const int on = 1;
      (void)setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
      const std::lock_guard<std::mutex> lock(mu_);
      connections_.remove_if([](const Connection& c) { return c.ended; });
      Connection& connection = connections_.emplace_back();
      connection.fd = std::move(fd);
      connection.thread = std::jthread([this, &connection](const std::stop_token& inner) {
        Serve(connection, inner);
        const std::lock_guard<std::mutex> ended_lock(mu_);
        shutdown(connection.fd.get(), SHUT_RDWR);
        connection.ended = true;
      });
    }
  }

  void Close(bool idle_only) {
    const std::lock_guard<std::mutex> lock(mu_);
    for (Connection& connection : connections_) {
      if (idle_only && connection.busy) continue;
      connection.thread.request_stop();
      shutdown(connection.fd.get(), SHUT_RDWR);
    }
  }

  void SetBusy(Connection& connection, bool busy) {
    const std::lock_guard<std::mutex> lock(mu_);
    connection.busy = busy;
  }

  // Reads one request; nullopt at the end of the connection.
  static std::optional<HttpIn> Receive(int fd, std::string& rest) {
    size_t end = 0;
    size_t length = 0;
    while (true) {
      end = rest.find("\r\n\r\n");
      if (end != std::string::npos) {
        const std::string text = LowerHeader(rest.substr(0, end + 2), "content-length");
        length = text.empty() ? 0 : std::stoull(text);
        if (rest.size() >= end + 4 + length) break;
      }
      char buffer[16384];
      const ssize_t n = recv(fd, buffer, sizeof(buffer), 0);
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0 || rest.size() > kMaxRequest) return std::nullopt;
      rest.append(buffer, static_cast<size_t>(n));
    }
    const std::string head = rest.substr(0, end + 2);
    HttpIn in;
    const size_t first = head.find(' ');
    const size_t second = head.find(' ', first + 1);
    if (first == std::string::npos || second == std::string::npos) return std::nullopt;
    in.request.method = head.substr(0, first);
    in.request.target = head.substr(first + 1, second - first - 1);
    in.request.content_type = LowerHeader(head, "content-type");
    in.request.body = rest.substr(end + 4, length);
    in.authorization = LowerHeader(head, "authorization");
    rest.erase(0, end + 4 + length);
    return in;
  }

  void Serve(Connection& connection, const std::stop_token& stop) {
    std::string rest;
    while (!stop.stop_requested()) {
      const std::optional<HttpIn> in = Receive(connection.fd.get(), rest);
      if (!in) return;
      SetBusy(connection, true);
      if (!Reply(connection.fd.get(), *in, stop)) return;
      SetBusy(connection, false);
    }
  }

  std::optional<Fault> TakeFault(const FakeRequest& request, bool watch) {
    const std::string method = watch ? "WATCH" : request.method;
    const std::lock_guard<std::mutex> lock(mu_);
    requests_.push_back(request.method + " " + request.target);
    for (auto it = faults_.begin(); it != faults_.end(); ++it) {
      if (!it->method.empty() && it->method != method) continue;
      const bool for_watch =
          it->type == FaultType::kWatchGone || it->type == FaultType::kWatchMidLine ||
          it->type == FaultType::kWatchDrop || it->type == FaultType::kWatchLine ||
          it->type == FaultType::kWatchSilent;
      if (for_watch && !watch) continue;
      if (request.target.find(it->path_contains) == std::string::npos) continue;
      Fault fault = *it;
      if (--it->times <= 0) faults_.erase(it);
      return fault;
    }
    return std::nullopt;
  }

  void Sleep(std::chrono::milliseconds how_long, const std::stop_token& stop) {
    std::mutex alone;
    std::unique_lock<std::mutex> lock(alone);
    std::condition_variable_any never;
    never.wait_for(lock, stop, how_long, [] { return false; });
  }

  // Waits until the server stops or the peer closes.
  void Hang(int fd, const std::stop_token& stop) {
    while (!stop.stop_requested() && !PeerIsGone(fd)) Sleep(std::chrono::milliseconds(20), stop);
  }

  // Whether the connection may serve another request.
  bool Reply(int fd, const HttpIn& in, const std::stop_token& stop) {
    const bool watch = in.request.target.find("watch=true") != std::string::npos;
    const std::optional<Fault> fault = TakeFault(in.request, watch);
    std::string wanted;
    {
      const std::lock_guard<std::mutex> lock(mu_);
      if (!token_.empty()) wanted = "Bearer " + token_;
    }
    if (!wanted.empty() && in.authorization != wanted) {
      return WriteAll(fd, Whole(FakeFailure(401, "Unauthorized", "Unauthorized")));
    }
    if (fault) {
      switch (fault->type) {
        case FaultType::kStatus: {
          FakeResponse response = FakeFailure(fault->http_status, fault->reason, "injected");
          if (fault->retry_after_seconds > 0) {
            response.headers.emplace_back("Retry-After",
                                          std::to_string(fault->retry_after_seconds));
          }
          return WriteAll(fd, Whole(response));
        }
        case FaultType::kClose:
          return false;
        case FaultType::kTruncate: {
          const std::string whole = Whole(api_.Handle(in.request));
          const size_t body = whole.find("\r\n\r\n") + 4;
          (void)WriteAll(fd, whole.substr(0, body + (whole.size() - body) / 2));
          return false;
        }
        case FaultType::kGarbage:
          return WriteAll(fd, Whole({.body = "{\"kind\": \"List\", \"items\": [{"}));
        case FaultType::kSlow:
          Sleep(fault->delay, stop);
          break;
        case FaultType::kHang:
          Hang(fd, stop);
          return false;
        default:
          break;
      }
    }
    if (watch) return Watch(fd, in.request, fault, stop);
    return WriteAll(fd, Whole(api_.Handle(in.request)));
  }

  bool Watch(int fd, const FakeRequest& request, const std::optional<Fault>& fault,
             const std::stop_token& stop) {
    FakeWatch watch;
    if (const auto refused = api_.StartWatch(request, watch)) return WriteAll(fd, Whole(*refused));
    if (!WriteAll(fd, Head({}) + "Transfer-Encoding: chunked\r\n\r\n")) return false;
    if (fault && fault->type == FaultType::kWatchSilent) {
      Hang(fd, stop);
      return false;
    }
    if (fault && fault->type == FaultType::kWatchGone) {
      const nlohmann::json gone = {
          {"type", "ERROR"},
          {"object", nlohmann::json::parse(FakeFailure(410, "Expired", "injected").body)}};
      return WriteAll(fd, Chunk(gone.dump() + "\n") + "0\r\n\r\n");
    }
    if (fault && fault->type == FaultType::kWatchLine && !WriteAll(fd, Chunk(fault->line + "\n"))) {
      return false;
    }
    const bool limited =
        fault && (fault->type == FaultType::kWatchMidLine || fault->type == FaultType::kWatchDrop);
    int left = limited ? fault->after_events : -1;
    const auto end = SteadyClock::now() + watch.timeout;
    auto next_bookmark = SteadyClock::now() + options_.bookmark_interval;
    while (!stop.stop_requested() && SteadyClock::now() < end) {
      const bool bookmark = SteadyClock::now() >= next_bookmark;
      if (bookmark) next_bookmark = SteadyClock::now() + options_.bookmark_interval;
      for (const std::string& line : api_.Poll(watch, bookmark)) {
        if (left == 0) break;
        if (left > 0) --left;
        if (!WriteAll(fd, Chunk(line + "\n"))) return false;
        if (line.find("\"type\":\"ERROR\"") != std::string::npos) {
          return WriteAll(fd, "0\r\n\r\n");
        }
      }
      if (left == 0) {
        if (fault->type == FaultType::kWatchDrop) return WriteAll(fd, "0\r\n\r\n");
        (void)WriteAll(fd, Chunk(R"({"type":"ADDED","object":{"metad)"));
        return false;
      }
      if (PeerIsGone(fd)) return false;
      const auto soon = SteadyClock::now() + std::chrono::milliseconds(50);
      api_.WaitBeyond(watch.seen, std::min({end, next_bookmark, soon}), stop);
    }
    return WriteAll(fd, "0\r\n\r\n");
  }

  const Options options_;
  FakeApi api_;
  mutable std::mutex mu_;
  std::string token_;                  // guarded by mu_
  std::vector<Fault> faults_;          // guarded by mu_
  std::vector<std::string> requests_;  // guarded by mu_
  std::list<Connection> connections_;  // guarded by mu_
  const UniqueFd listener_;
  const uint16_t port_;
  std::jthread acceptor_;  // last: uses all of the above
};

}  // namespace

absl::StatusOr<std::unique_ptr<FakeApiServer>> FakeApiServer::Start(Options options) {
  UniqueFd listener(socket(options.ipv6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in v4 = {};
  v4.sin_family = AF_INET;
  v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  sockaddr_in6 v6 = {};
  v6.sin6_family = AF_INET6;
  v6.sin6_addr = in6addr_loopback;
  auto* const address =
      options.ipv6 ? reinterpret_cast<sockaddr*>(&v6) : reinterpret_cast<sockaddr*>(&v4);
  socklen_t length = options.ipv6 ? sizeof(v6) : sizeof(v4);
  if (!listener.ok() || bind(listener.get(), address, length) != 0 ||
      listen(listener.get(), 64) != 0 || getsockname(listener.get(), address, &length) != 0) {
    return absl::UnavailableError(std::string("fake API server: ") + std::strerror(errno));
  }
  const uint16_t port = ntohs(options.ipv6 ? v6.sin6_port : v4.sin_port);
  return std::make_unique<Server>(std::move(options), std::move(listener), port);
}

}  // namespace kube_lvs::kube
