#include "kube/rest_transport.h"

#include <cpprest/http_client.h>
#include <netinet/tcp.h>
#include <pplx/threadpool.h>
#include <sys/socket.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <fstream>
#include <iterator>
#include <mutex>
#include <optional>
#include <stop_token>
#include <utility>
#include <vector>

#include "base/ip.h"
#include "base/status.h"
#include "kube/line_splitter.h"
#include "kube/token_source.h"

namespace kube_lvs::kube {
namespace {

using Deadline = std::chrono::steady_clock::time_point;
using TcpSocket = boost::asio::ip::tcp::socket;
using TlsStream = boost::asio::ssl::stream<TcpSocket&>;

constexpr size_t kMaxBody = 256u << 20;  // 500 objects of the largest size etcd takes
constexpr size_t kMaxLine = 32u << 20;
constexpr size_t kReadAtOnce = 64u << 10;
// A stream's own limits end it; the library's must lie beyond any of them.
constexpr auto kLibraryTimeout = std::chrono::minutes(10);
constexpr size_t kLibraryThreads = 4;

// What a task of the library ended with. Shared between the waiter and the library's thread, since
// the waiter may leave first.
template <typename T>
struct Outcome {
  std::mutex mu;
  std::condition_variable_any changed;
  std::optional<T> value;  // guarded by mu
  std::string error;       // guarded by mu
  bool done = false;       // guarded by mu
};

// Waits for `task`, but not beyond `deadline` or `stop`; then it is cancelled, which closes its
// connection, and left to itself.
template <typename T>
absl::StatusOr<T> Await(pplx::task<T> task, Deadline deadline, const std::stop_token& stop,
                        const pplx::cancellation_token_source& cancel) {
  auto outcome = std::make_shared<Outcome<T>>();
  // The library ends the process if a task's exception is looked at by nobody: this continuation
  // is always there to look.
  task.then([outcome](pplx::task<T> ended) {
    std::optional<T> value;
    std::string error;
    try {
      value = ended.get();
    } catch (const std::exception& e) {
      error = e.what();
    } catch (...) {
      error = "unknown exception";
    }
    const std::lock_guard<std::mutex> lock(outcome->mu);
    outcome->value = std::move(value);
    outcome->error = std::move(error);
    outcome->done = true;
    outcome->changed.notify_all();
  });
  std::unique_lock<std::mutex> lock(outcome->mu);
  const bool done =
      outcome->changed.wait_until(lock, stop, deadline, [&outcome] { return outcome->done; });
  if (done) {
    if (outcome->value) return *std::move(outcome->value);
    return absl::UnavailableError("HTTP: " + outcome->error);
  }
  lock.unlock();
  cancel.cancel();
  if (stop.stop_requested()) return absl::CancelledError("HTTP: stopped");
  return absl::DeadlineExceededError("HTTP: no answer in time");
}

// The two socket settings that notice a peer that vanished. Best effort: without them the quiet
// timeout notices, only later.
void NoticeVanishedPeer(int fd) {
  const auto set = [fd](int level, int option, int value) {
    (void)setsockopt(fd, level, option, &value, sizeof(value));
  };
  set(SOL_SOCKET, SO_KEEPALIVE, 1);
  set(IPPROTO_TCP, TCP_KEEPIDLE, 5);
  set(IPPROTO_TCP, TCP_KEEPINTVL, 5);
  set(IPPROTO_TCP, TCP_KEEPCNT, 3);
  set(IPPROTO_TCP, TCP_USER_TIMEOUT, 15'000);
}

absl::StatusOr<std::string> ReadPem(const Pem& pem) {
  if (pem.file.empty()) return pem.data;
  std::ifstream in(pem.file, std::ios::binary);
  std::string text((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
  if (text.empty()) return absl::InvalidArgumentError(pem.file + ": cannot be read or is empty");
  return text;
}

// Throws boost::system::system_error for what is not PEM.
absl::Status SetUpTls(const ClientConfig& config, boost::asio::ssl::context& context) {
  SSL_CTX_set_min_proto_version(context.native_handle(), TLS1_2_VERSION);
  if (!config.certificate_authority.Empty()) {
    KUBE_LVS_ASSIGN_OR_RETURN(const std::string pem, ReadPem(config.certificate_authority));
    // Only this authority: the machine's own roots must not vouch for an API server.
    SSL_CTX_set_cert_store(context.native_handle(), X509_STORE_new());
    context.add_certificate_authority(boost::asio::buffer(pem));
  }
  if (!config.client_certificate.Empty()) {
    KUBE_LVS_ASSIGN_OR_RETURN(const std::string certificate, ReadPem(config.client_certificate));
    KUBE_LVS_ASSIGN_OR_RETURN(const std::string key, ReadPem(config.client_key));
    context.use_certificate_chain(boost::asio::buffer(certificate));
    context.use_private_key(boost::asio::buffer(key), boost::asio::ssl::context::pem);
  }
  return absl::OkStatus();
}

// The server's address as the library takes it. It hands a host to the resolver as it stands in the
// address, and an IPv6 address in brackets is no name to that; without them it takes what follows
// the last colon for the port, which therefore must be there.
std::string LibraryAddress(const std::string& server) {
  const size_t open = server.find("://[");
  const size_t close = server.find(']');
  if (open == std::string::npos || close == std::string::npos || close < open) return server;
  const std::string scheme = server.substr(0, open + 3);
  std::string rest = server.substr(close + 1);
  if (rest.empty()) rest = scheme == "https://" ? ":443" : ":80";
  return scheme + server.substr(open + 4, close - open - 4) + rest;
}

web::http::method ToMethod(HttpMethod method) { return web::http::method(ToString(method)); }

// One connection's handle as the library gives it: valid while a handler of the request runs.
struct SocketHandle {
  std::atomic<void*> handle{nullptr};
};

class RestTransport final : public HttpTransport {
 public:
  RestTransport(const ClientConfig& config, const Clock& clock)
      : config_(config),
        base_(LibraryAddress(config.server)),
        // When a name has several addresses, the library changes the connection under the handle.
        one_address_(IpAddress::Parse(base_.host()).ok()),
        token_(config, clock) {}

  absl::StatusOr<HttpResponse> Send(const HttpRequest& request, std::stop_token stop) override {
    const Deadline deadline = std::chrono::steady_clock::now() + request.timeout;
    return WithToken(
        [&](const std::string& token) { return SendOnce(request, token, deadline, stop); });
  }

  absl::StatusOr<HttpResponse> Stream(const HttpRequest& request, const LineSink& on_line,
                                      std::stop_token stop) override {
    const Deadline deadline = std::chrono::steady_clock::now() + request.timeout;
    return WithToken([&](const std::string& token) {
      return StreamOnce(request, on_line, token, deadline, stop);
    });
  }

 private:
  using Client = web::http::client::http_client;

  // A request that may have been answered partly: `headers` says whether its headers came.
  struct Sent {
    absl::StatusOr<HttpResponse> response = HttpResponse{};
    bool headers = false;
  };

  template <typename F>
  absl::StatusOr<HttpResponse> WithToken(const F& send) {
    KUBE_LVS_ASSIGN_OR_RETURN(std::string token, token_.Get());
    absl::StatusOr<HttpResponse> response = send(token);
    if (response.ok() && response->status == 401 && token_.Renew(token)) {
      KUBE_LVS_ASSIGN_OR_RETURN(token, token_.Get());
      response = send(token);
    }
    return response;
  }

  absl::StatusOr<HttpResponse> SendOnce(const HttpRequest& request, const std::string& token,
                                        Deadline deadline, const std::stop_token& stop) {
    const auto [pooled, used] = Pooled();
    const std::shared_ptr<Client> client = pooled;  // clang 14 captures no structured binding
    absl::StatusOr<Sent> sent =
        Guarded(client, [&] { return Exchange(*client, request, token, deadline, stop, nullptr); });
    if (!sent.ok()) return sent.status();
    const bool broken = absl::IsUnavailable(sent->response.status());
    if (!broken) {
      MarkUsed(client);
      return std::move(sent->response);
    }
    // All idle connections are likely as dead as this one was.
    const std::shared_ptr<Client> fresh = Replace(client);
    if (!used || sent->headers) return std::move(sent->response);
    sent =
        Guarded(fresh, [&] { return Exchange(*fresh, request, token, deadline, stop, nullptr); });
    if (!sent.ok()) return sent.status();
    if (sent->response.ok()) MarkUsed(fresh);
    return std::move(sent->response);
  }

  absl::StatusOr<HttpResponse> StreamOnce(const HttpRequest& request, const LineSink& on_line,
                                          const std::string& token, Deadline deadline,
                                          const std::stop_token& stop) {
    const auto handle = std::make_shared<SocketHandle>();
    const std::shared_ptr<Client> client = NewClient(handle);
    absl::StatusOr<Sent> sent = Guarded(client, [&] {
      return Exchange(*client, request, token, deadline, stop, &on_line, handle);
    });
    if (!sent.ok()) return sent.status();
    return std::move(sent->response);
  }

  // Runs `exchange` and turns what the library throws into a status.
  template <typename F>
  static absl::StatusOr<Sent> Guarded(const std::shared_ptr<Client>& client, const F& exchange) {
    if (client == nullptr) return absl::InternalError("HTTP: no client could be made");
    try {
      return exchange();
    } catch (const std::exception& error) {
      return absl::UnavailableError(std::string("HTTP: ") + error.what());
    }
  }

  Sent Exchange(Client& client, const HttpRequest& request, const std::string& token,
                Deadline deadline, const std::stop_token& stop, const LineSink* on_line,
                const std::shared_ptr<SocketHandle>& handle = nullptr) {
    Sent sent;
    const pplx::cancellation_token_source cancel;
    absl::StatusOr<web::http::http_response> head = Await(
        client.request(Encode(request, token, handle), cancel.get_token()), deadline, stop, cancel);
    if (!head.ok()) {
      sent.response = head.status();
      return sent;
    }
    sent.headers = true;
    HttpResponse response;
    response.status = head->status_code();
    for (const auto& [name, value] : head->headers()) {
      std::string lower = name;
      std::transform(lower.begin(), lower.end(), lower.begin(),
                     [](unsigned char c) { return std::tolower(c); });
      response.headers[lower] = value;
    }
    absl::Status read;
    if (on_line != nullptr && response.Ok()) {
      LineSplitter lines(kMaxLine);
      read = ReadBody(
          *head, stop, cancel,
          [&request] { return std::chrono::steady_clock::now() + request.quiet_timeout; },
          [&lines, on_line](std::string_view bytes) { return lines.Feed(bytes, *on_line); });
      if (read.ok() && !lines.Empty()) {
        read = absl::UnavailableError("HTTP: the stream broke off within a line");
      }
    } else {
      read = ReadBody(
          *head, stop, cancel, [deadline] { return deadline; },
          [&response](std::string_view bytes) -> absl::Status {
            if (response.body.size() + bytes.size() > kMaxBody) {
              return absl::DataLossError("HTTP: the answer is too long");
            }
            response.body += bytes;
            return absl::OkStatus();
          });
    }
    if (read.ok()) {
      sent.response = std::move(response);
    } else {
      cancel.cancel();  // closes the connection: what is left of the answer must not be read as
                        // another
      sent.response = read;
    }
    return sent;
  }

  template <typename NextDeadline, typename Take>
  absl::Status ReadBody(web::http::http_response& response, const std::stop_token& stop,
                        const pplx::cancellation_token_source& cancel,
                        const NextDeadline& next_deadline, const Take& take) {
    auto stream = response.body().streambuf();
    while (true) {
      // getc waits for the first byte without taking it; what is there then is read at once.
      KUBE_LVS_ASSIGN_OR_RETURN(const int first,
                                Await(stream.getc(), next_deadline(), stop, cancel));
      if (first == concurrency::streams::char_traits<uint8_t>::eof()) break;
      const size_t size = std::clamp<size_t>(stream.in_avail(), 1, kReadAtOnce);
      const auto buffer = std::make_shared<std::vector<uint8_t>>(size);
      const pplx::task<size_t> reading =
          stream.getn(buffer->data(), size).then([buffer](size_t got) { return got; });
      KUBE_LVS_ASSIGN_OR_RETURN(const size_t got, Await(reading, next_deadline(), stop, cancel));
      KUBE_LVS_RETURN_IF_ERROR(
          take(std::string_view(reinterpret_cast<const char*>(buffer->data()), got)));
    }
    // The end of the stream is the end of the answer only if the library is content, too.
    return Await(response.content_ready(), next_deadline(), stop, cancel).status();
  }

  web::http::http_request Encode(const HttpRequest& request, const std::string& token,
                                 const std::shared_ptr<SocketHandle>& handle) const {
    web::http::http_request out(ToMethod(request.method));
    out.set_request_uri(web::uri(request.target));
    out.headers().add("Accept", "application/json");
    out.headers().add("User-Agent", "kube-lvs");
    if (!token.empty()) out.headers().add("Authorization", "Bearer " + token);
    if (!request.content_type.empty()) {
      out.set_body(request.body, request.content_type);
    }
    if (handle != nullptr && one_address_) {
      const bool tls = base_.scheme() == "https";
      // Called in a handler of the request, when the socket is connected and cannot go away.
      out.set_progress_handler(
          [handle, tls](web::http::message_direction::direction, utility::size64_t) {
            void* const raw = handle->handle.exchange(nullptr);
            if (raw == nullptr) return;
            NoticeVanishedPeer(tls ? static_cast<TlsStream*>(raw)->lowest_layer().native_handle()
                                   : static_cast<TcpSocket*>(raw)->native_handle());
          });
    }
    return out;
  }

  // nullptr if the library cannot make one.
  std::shared_ptr<Client> NewClient(const std::shared_ptr<SocketHandle>& handle) const {
    web::http::client::http_client_config config;
    config.set_timeout(kLibraryTimeout);
    config.set_max_redirects(0);
    config.set_validate_certificates(!config_.insecure_skip_tls_verify);
    config.set_ssl_context_callback([tls = config_](boost::asio::ssl::context& context) {
      const absl::Status done = SetUpTls(tls, context);
      if (!done.ok()) throw std::runtime_error(Message(done));
    });
    if (handle != nullptr) {
      config.set_nativehandle_options(
          [handle](web::http::client::native_handle raw) { handle->handle = raw; });
    }
    try {
      return std::make_shared<Client>(base_, config);
    } catch (const std::exception&) {
      return nullptr;
    }
  }

  // The client whose connections are kept, and whether one of them was used before.
  std::pair<std::shared_ptr<Client>, bool> Pooled() {
    const std::lock_guard<std::mutex> lock(mu_);
    if (pooled_ == nullptr) pooled_ = NewClient(nullptr);
    return {pooled_, used_};
  }

  void MarkUsed(const std::shared_ptr<Client>& client) {
    const std::lock_guard<std::mutex> lock(mu_);
    if (pooled_ == client) used_ = true;
  }

  std::shared_ptr<Client> Replace(const std::shared_ptr<Client>& broken) {
    const std::lock_guard<std::mutex> lock(mu_);
    if (pooled_ == broken) {
      pooled_ = NewClient(nullptr);
      used_ = false;
    }
    return pooled_;
  }

  const ClientConfig config_;
  const web::uri base_;
  const bool one_address_;
  TokenSource token_;

  std::mutex mu_;
  std::shared_ptr<Client> pooled_;  // guarded by mu_
  bool used_ = false;               // guarded by mu_
};

}  // namespace

absl::StatusOr<std::unique_ptr<HttpTransport>> NewRestTransport(const ClientConfig& config,
                                                                const Clock& clock) {
  try {
    // The library would start 40 threads; refused if it has started them already.
    crossplat::threadpool::initialize_with_threads(kLibraryThreads);
  } catch (const std::exception&) {
    // Another transport was first: there is one pool in a process.
  }
  try {
    const web::uri base(LibraryAddress(config.server));
    if (base.host().empty() || (base.scheme() != "https" && base.scheme() != "http")) {
      return absl::InvalidArgumentError("server \"" + config.server + "\": is not an address");
    }
    boost::asio::ssl::context context(boost::asio::ssl::context::sslv23);
    KUBE_LVS_RETURN_IF_ERROR(Annotate(SetUpTls(config, context), "TLS"));
    return std::make_unique<RestTransport>(config, clock);
  } catch (const std::exception& error) {
    return absl::InvalidArgumentError("server \"" + config.server + "\": " + error.what());
  }
}

}  // namespace kube_lvs::kube
