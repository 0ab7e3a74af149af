// One JSON line per log entry: a constant message and fields beside it.
#pragma once

#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace kube_lvs {

// info: something changed. warn: we will retry. error: a human is needed. debug: the rest.
enum class Level { kDebug, kInfo, kWarn, kError };

using LogFields = std::initializer_list<std::pair<std::string_view, std::string>>;

// Thread-safe. Never throws and never blocks longer than a write to its sink takes.
class Logger {
 public:
  virtual ~Logger() = default;
  virtual void Log(Level level, std::string_view message, LogFields fields = {}) = 0;
};

// Writes to standard error; entries below `minimum` are dropped.
std::unique_ptr<Logger> NewStderrLogger(Level minimum);

// One entry as its JSON line, without a newline; `time` is RFC 3339. Bytes that are not UTF-8
// are replaced, so the line is always valid JSON.
std::string LogLine(Level level, std::string_view time, std::string_view message, LogFields fields);

}  // namespace kube_lvs
