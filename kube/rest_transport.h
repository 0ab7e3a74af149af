// HttpTransport over cpprestsdk: HTTP/1.1, TLS, bearer token, pooled connections.
#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "base/clock.h"
#include "kube/config.h"
#include "kube/http.h"

namespace kube_lvs::kube {

// Opens no connection yet; kInvalidArgument if the server's address or a PEM is unusable. `clock`
// (only for the token's age) must outlive the transport.
//
// A token file is re-read when its content is older than a minute, and at once after a 401, when
// the request is sent once more. A request that failed on a connection which had been used before,
// without one byte of an answer, is sent once more on a new connection. Redirects and proxies are
// not followed. Streams have a connection of their own, closed at their end; once the headers are
// in, it has TCP_USER_TIMEOUT 15 s and keepalive 5/5/3, so a peer that vanished is noticed.
absl::StatusOr<std::unique_ptr<HttpTransport>> NewRestTransport(const ClientConfig& config,
                                                                const Clock& clock);

}  // namespace kube_lvs::kube
