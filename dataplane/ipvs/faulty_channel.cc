#include "dataplane/ipvs/faulty_channel.h"

#include <cerrno>

namespace kube_lvs::ipvs {

bool FaultyChannel::Happens() {
  if (one_in_ == 0 || random_() % one_in_ != 0) return false;
  ++faults_;
  return true;
}

absl::StatusOr<std::vector<int>> FaultyChannel::Send(std::span<const Bytes> requests) {
  if (Happens()) return absl::UnavailableError("EAGAIN: nothing was sent");
  if (Happens()) {
    // Batches before the one that failed were applied.
    const auto sent = requests.first(random_() % (requests.size() + 1));
    if (!sent.empty()) {
      if (auto answers = real_.Send(sent); !answers.ok()) return answers.status();
    }
    return absl::UnavailableError("no answer within 30 s");
  }
  if (Happens()) {
    if (auto answers = real_.Send(requests); !answers.ok()) return answers.status();
    return absl::UnavailableError("ENOBUFS: answers were lost");
  }
  std::vector<int> out;
  for (const Bytes& request : requests) {
    if (Happens()) {
      out.push_back(ENOMEM);
      continue;
    }
    auto answer = real_.Send(std::span(&request, 1));
    if (!answer.ok()) return answer.status();
    out.push_back(answer->front());
  }
  return out;
}

absl::StatusOr<Messages> FaultyChannel::Dump(const Bytes& request) {
  if (Happens()) return absl::UnavailableError("IPVS changed during each of 8 readings");
  return real_.Dump(request);
}

absl::StatusOr<Bytes> FaultyChannel::Ask(const Bytes& request) {
  if (Happens()) return absl::UnavailableError("ENOBUFS: the answer was lost");
  return real_.Ask(request);
}

}  // namespace kube_lvs::ipvs
