// HTTP as the API client needs it: one request with one answer, or an answer that arrives line by
// line. An interface, so that everything above it is tested without sockets.
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <stop_token>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace kube_lvs::kube {

enum class HttpMethod { kGet, kPost, kPut, kPatch, kDelete };
std::string_view ToString(HttpMethod method);  // "GET"

struct HttpRequest {
  HttpMethod method = HttpMethod::kGet;
  std::string target = {};  // path and query, already percent-encoded: "/api/v1/nodes?limit=500"
  std::string body = {};    // sent only if content_type is set
  std::string content_type = {};  // "application/json", "application/apply-patch+yaml", ...
  // Send: until the whole answer is in. Stream: until the headers are in.
  std::chrono::milliseconds timeout{30'000};
  // Stream only: the longest silence between two chunks of the body.
  std::chrono::milliseconds quiet_timeout{90'000};
};

struct HttpResponse {
  int status = 0;
  std::map<std::string, std::string> headers = {};  // names in lower case
  std::string body = {};

  bool Ok() const { return status >= 200 && status < 300; }
};

// Takes one line without its newline. A status that is not OK ends the stream.
using LineSink = std::function<absl::Status(std::string_view line)>;

// Thread-safe: any number of requests at a time. Any HTTP status, 500 too, is an answer and
// therefore OK here; a Status says that there was no (whole) answer:
//   kUnavailable       could not connect, or the connection broke: retry
//   kDeadlineExceeded  `timeout` or `quiet_timeout` passed
//   kCancelled         the stop token was triggered; returns within about a second of it
//   kDataLoss          the answer is longer than the transport's limit
// Never throws.
class HttpTransport {
 public:
  virtual ~HttpTransport() = default;

  virtual absl::StatusOr<HttpResponse> Send(const HttpRequest& request, std::stop_token stop) = 0;

  // Calls `on_line` in the calling thread for every line of a 2xx answer and returns when the
  // server ended the stream (body empty). Another answer is returned whole, and `on_line` is not
  // called. A last line without newline is a broken stream, not a line: kUnavailable. The error of
  // `on_line` is returned as it is.
  virtual absl::StatusOr<HttpResponse> Stream(const HttpRequest& request, const LineSink& on_line,
                                              std::stop_token stop) = 0;
};

}  // namespace kube_lvs::kube
