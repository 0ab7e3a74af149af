// A small HTTP/1.1 server for GET of a few paths: metrics and health. One thread, bounded.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <stop_token>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/ip.h"
#include "base/unique_fd.h"

namespace kube_lvs {

struct HttpAnswer {
  int status = 200;
  std::string content_type = "text/plain; charset=utf-8";
  std::string body = {};
};

class HttpEndpoint {
 public:
  // `path` is without a query. Called in Run's thread.
  using Handler = std::function<HttpAnswer(std::string_view path)>;

  // Port 0: one of the kernel's choice. kUnavailable names the address that cannot be had.
  static absl::StatusOr<std::unique_ptr<HttpEndpoint>> Listen(const Endpoint& at, Handler handler);

  uint16_t port() const { return port_; }

  // Answers until `stop`; then OK. At most 64 connections at a time, each for one request and at
  // most 5 s; more wait in the kernel's backlog.
  absl::Status Run(std::stop_token stop);

 private:
  HttpEndpoint(UniqueFd listener, UniqueFd waker, uint16_t port, Handler handler)
      : listener_(std::move(listener)),
        waker_(std::move(waker)),
        port_(port),
        handler_(std::move(handler)) {}

  std::string Answer(std::string_view request) const;

  const UniqueFd listener_;
  const UniqueFd waker_;  // an eventfd
  const uint16_t port_;
  const Handler handler_;
};

}  // namespace kube_lvs
