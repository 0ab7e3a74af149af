#include "base/log.h"

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <chrono>
#include <ctime>
#include <nlohmann/json.hpp>

namespace kube_lvs {
namespace {

std::string_view Name(Level level) {
  switch (level) {
    case Level::kDebug:
      return "debug";
    case Level::kInfo:
      return "info";
    case Level::kWarn:
      return "warn";
    case Level::kError:
      return "error";
  }
  return "error";
}

std::string Rfc3339Now() {
  const auto now = std::chrono::system_clock::now();
  const std::time_t seconds = std::chrono::system_clock::to_time_t(now);
  const auto millis = std::chrono::duration_cast<std::chrono::milliseconds>(
                          now - std::chrono::system_clock::from_time_t(seconds))
                          .count();
  std::tm utc{};
  gmtime_r(&seconds, &utc);
  char date[40];
  std::strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%S", &utc);
  char out[56];
  std::snprintf(out, sizeof(out), "%s.%03dZ", date, static_cast<int>(millis));
  return out;
}

class StderrLogger final : public Logger {
 public:
  explicit StderrLogger(Level minimum)
      : minimum_(minimum), sink_("kube-lvs", std::make_shared<spdlog::sinks::stderr_sink_mt>()) {
    sink_.set_pattern("%v");
    sink_.set_level(spdlog::level::trace);
    sink_.flush_on(spdlog::level::trace);
  }

  void Log(Level level, std::string_view message, LogFields fields) override {
    if (level < minimum_) return;
    const std::string line = LogLine(level, Rfc3339Now(), message, fields);
    sink_.log(spdlog::level::info, spdlog::string_view_t(line.data(), line.size()));
  }

 private:
  const Level minimum_;
  spdlog::logger sink_;
};

}  // namespace

std::string LogLine(Level level, std::string_view time, std::string_view message,
                    LogFields fields) {
  nlohmann::ordered_json line;
  line["time"] = std::string(time);
  line["level"] = std::string(Name(level));
  line["msg"] = std::string(message);
  for (const auto& [key, value] : fields) line[std::string(key)] = value;
  return line.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

std::unique_ptr<Logger> NewStderrLogger(Level minimum) {
  return std::make_unique<StderrLogger>(minimum);
}

}  // namespace kube_lvs
