// requests ADDRESS PORT RATE SECONDS: requests by HTTP over IPv4, each a TCP connection of its own, at a fixed rate,
// whatever becomes of those before. Prints a line of JSON: how many, how many of them had no answer within a second, the
// latency from connect() to the end of the answer, and the CPU time that this program took for them.
// Takes a fraction of what the tests' load client does, so that a hop's share is seen.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <deque>
#include <iterator>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/unique_fd.h"

namespace kube_lvs {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::nanoseconds;

constexpr auto kPatience = std::chrono::seconds(1);
constexpr std::string_view kGet = "GET / HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n";
constexpr std::string_view kOk = "HTTP/1.1 200 ";

[[noreturn]] void Fail(const char* what) {
  std::perror(what);
  std::exit(2);
}

int64_t CpuNs() {
  timespec now{};
  if (clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now) != 0) Fail("clock_gettime");
  return int64_t{now.tv_sec} * 1000000000 + now.tv_nsec;
}

class Load {
 public:
  explicit Load(const sockaddr_in& to) : to_(to) {
    timer_ = UniqueFd(timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK));
    epoll_ = UniqueFd(epoll_create1(0));
    if (!timer_.ok() || !epoll_.ok()) Fail("epoll");
    Watch(timer_.get(), EPOLLIN, EPOLL_CTL_ADD);
  }

  void Run(uint64_t count, nanoseconds every) {
    itimerspec spec{};
    spec.it_interval = {.tv_sec = every / std::chrono::seconds(1),
                        .tv_nsec = (every % std::chrono::seconds(1)).count()};
    spec.it_value = spec.it_interval;
    if (timerfd_settime(timer_.get(), 0, &spec, nullptr) != 0) Fail("timerfd_settime");
    uint64_t begun = 0;
    while (begun < count || !open_.empty()) {
      epoll_event events[64];
      const int ready = epoll_wait(epoll_.get(), events, std::size(events), 100);
      if (ready < 0 && errno != EINTR) Fail("epoll_wait");
      for (int i = 0; i < ready; ++i) {
        if (events[i].data.fd != timer_.get()) {
          GoOn(events[i].data.fd);
          continue;
        }
        uint64_t due = 0;
        if (read(timer_.get(), &due, sizeof due) != sizeof due) continue;
        for (; due > 0 && begun < count; --due, ++begun) Begin();
      }
      GiveUp();
    }
  }

  void Print(int64_t cpu_ns) {
    std::ranges::sort(latencies_);
    const auto ms = [this](size_t percent) {
      if (latencies_.empty()) return 0.0;
      return static_cast<double>(latencies_[(latencies_.size() - 1) * percent / 100].count()) / 1e6;
    };
    std::printf(
        "{\"total\": %zu, \"failed\": %zu, \"p50_ms\": %.4f, \"p99_ms\": %.4f, \"cpu_s\": %.6f}\n",
        latencies_.size() + failed_, failed_, ms(50), ms(99), static_cast<double>(cpu_ns) / 1e9);
  }

 private:
  struct Request {
    UniqueFd socket;
    Clock::time_point begin;
    bool asked = false;
    std::string answer;
  };

  void Watch(int fd, uint32_t events, int how) {
    epoll_event event{};
    event.events = events;
    event.data.fd = fd;
    if (epoll_ctl(epoll_.get(), how, fd, &event) != 0) Fail("epoll_ctl");
  }

  void Begin() {
    Request request;
    request.begin = Clock::now();
    request.socket = UniqueFd(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0));
    const int fd = request.socket.get();
    if (fd < 0) Fail("socket");
    const auto* to = reinterpret_cast<const sockaddr*>(&to_);
    if (connect(fd, to, sizeof to_) != 0 && errno != EINPROGRESS) {
      ++failed_;
      return;
    }
    Watch(fd, EPOLLOUT, EPOLL_CTL_ADD);
    order_.emplace_back(fd, request.begin);
    open_.emplace(fd, std::move(request));
  }

  void GoOn(int fd) {
    const auto found = open_.find(fd);
    if (found == open_.end()) return;
    Request& request = found->second;
    if (!request.asked) {
      const ssize_t sent = send(fd, kGet.data(), kGet.size(), MSG_NOSIGNAL);
      if (sent != static_cast<ssize_t>(kGet.size())) return End(fd, false);
      request.asked = true;
      Watch(fd, EPOLLIN, EPOLL_CTL_MOD);
      return;
    }
    char part[1024];
    const ssize_t size = recv(fd, part, sizeof part, 0);
    if (size > 0) {
      request.answer.append(part, static_cast<size_t>(size));
    } else if (size == 0 || errno != EAGAIN) {
      End(fd, size == 0 && request.answer.starts_with(kOk));
    }
  }

  void End(int fd, bool answered) {
    const auto found = open_.find(fd);
    if (answered) {
      latencies_.push_back(Clock::now() - found->second.begin);
    } else {
      ++failed_;
    }
    open_.erase(found);
  }

  void GiveUp() {
    const auto now = Clock::now();
    for (; !order_.empty() && now - order_.front().second > kPatience; order_.pop_front()) {
      const auto found = open_.find(order_.front().first);
      if (found == open_.end() || found->second.begin != order_.front().second) continue;
      End(found->first, false);
    }
  }

  const sockaddr_in to_;
  UniqueFd timer_, epoll_;
  std::unordered_map<int, Request> open_;                // by socket
  std::deque<std::pair<int, Clock::time_point>> order_;  // as they began, also those that have ended
  std::vector<nanoseconds> latencies_;
  size_t failed_ = 0;
};

int Main(int argc, char** argv) {
  sockaddr_in to{};
  to.sin_family = AF_INET;
  const double rate = argc == 5 ? std::atof(argv[3]) : 0;
  const double seconds = argc == 5 ? std::atof(argv[4]) : 0;
  if (argc != 5 || inet_pton(AF_INET, argv[1], &to.sin_addr) != 1 || rate <= 0 || seconds <= 0) {
    std::fputs("usage: requests ADDRESS PORT RATE SECONDS\n", stderr);
    return 2;
  }
  to.sin_port = htons(static_cast<uint16_t>(std::atoi(argv[2])));
  Load load(to);
  const int64_t before = CpuNs();
  load.Run(static_cast<uint64_t>(rate * seconds), nanoseconds(static_cast<int64_t>(1e9 / rate)));
  load.Print(CpuNs() - before);
  return 0;
}

}  // namespace
}  // namespace kube_lvs

int main(int argc, char** argv) { return kube_lvs::Main(argc, argv); }
