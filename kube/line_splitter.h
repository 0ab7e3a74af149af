// Cuts a stream of bytes into lines.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "kube/http.h"

namespace kube_lvs::kube {

class LineSplitter {
 public:
  // A line longer than `longest` bytes is refused: kDataLoss.
  explicit LineSplitter(size_t longest) : longest_(longest) {}

  // Calls `on_line` for every line that `bytes` completes; stops at its first error, which is
  // returned. "\r\n" ends a line as "\n" does.
  absl::Status Feed(std::string_view bytes, const LineSink& on_line);

  bool Empty() const { return rest_.empty(); }  // whether no part of a line is waiting

 private:
  const size_t longest_;
  std::string rest_;
};

}  // namespace kube_lvs::kube
