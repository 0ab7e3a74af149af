#include "kube/line_splitter.h"

#include "base/status.h"

namespace kube_lvs::kube {

absl::Status LineSplitter::Feed(std::string_view bytes, const LineSink& on_line) {
  while (!bytes.empty()) {
    const size_t end = bytes.find('\n');
    const std::string_view part = bytes.substr(0, end);
    if (rest_.size() + part.size() > longest_) {
      return absl::DataLossError("a line of the stream is longer than " + std::to_string(longest_) +
                                 " bytes");
    }
    if (end == std::string_view::npos) {
      rest_ += part;
      break;
    }
    bytes.remove_prefix(end + 1);
    std::string_view line = part;
    std::string whole;
    if (!rest_.empty()) {
      whole = std::move(rest_);
      rest_.clear();
      whole += part;
      line = whole;
    }
    if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
    KUBE_LVS_RETURN_IF_ERROR(on_line(line));
  }
  return absl::OkStatus();
}

}  // namespace kube_lvs::kube
