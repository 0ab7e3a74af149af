#include "kube/token_source.h"

#include <algorithm>
#include <fstream>
#include <iterator>

namespace kube_lvs::kube {
namespace {

constexpr auto kMaxAge = std::chrono::minutes(1);

// Whether the text is a token that can stand in a header.
bool Fits(const std::string& text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return c > ' ' && c < 127; });
}

}  // namespace

absl::StatusOr<std::string> TokenSource::Get() {
  const std::lock_guard<std::mutex> lock(mu_);
  if (file_.empty()) {
    if (!Fits(token_)) return absl::UnauthenticatedError("the token has bytes that no token has");
    return token_;
  }
  if (token_.empty() || clock_.Now() - read_at_ >= kMaxAge) {
    const absl::Status read = Read();
    if (!read.ok() && token_.empty()) return read;
  }
  return token_;
}

bool TokenSource::Renew(const std::string& rejected) {
  const std::lock_guard<std::mutex> lock(mu_);
  if (file_.empty()) return false;
  if (!Read().ok()) return false;
  return token_ != rejected;
}

absl::Status TokenSource::Read() {
  std::ifstream in(file_, std::ios::binary);
  std::string text((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
  if (!in && !in.eof()) {
    return absl::UnauthenticatedError("token file " + file_ + ": cannot be read");
  }
  while (!text.empty() && (text.back() == '\n' || text.back() == '\r' || text.back() == ' ')) {
    text.pop_back();
  }
  if (text.empty() || !Fits(text)) {
    return absl::UnauthenticatedError("token file " + file_ + ": holds no token");
  }
  token_ = std::move(text);
  read_at_ = clock_.Now();
  return absl::OkStatus();
}

}  // namespace kube_lvs::kube
