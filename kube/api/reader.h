// Reads the members of JSON objects with their paths, for decode.cc: the first thing that is wrong
// is kept, and reading goes on with defaults, so that decoders need no branch per field.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"

namespace kube_lvs::api {

// What went wrong first, of one object.
class ReadError {
 public:
  explicit ReadError(bool strict) : strict_(strict) {}
  bool strict() const { return strict_; }
  bool ok() const { return message_.empty(); }
  const std::string& message() const { return message_; }
  void Add(std::string_view path, std::string_view what);

 private:
  const bool strict_;
  std::string message_;
};

// One JSON object. Absent (or null) reads as empty. All references must outlive it. With a strict
// ReadError, its destructor reports members that nobody asked for.
class Reader {
 public:
  Reader(const nlohmann::json* value, std::string path, ReadError& error);
  Reader(const Reader&) = delete;
  Reader& operator=(const Reader&) = delete;
  ~Reader();

  bool There() const { return value_ != nullptr; }
  bool Has(std::string_view key) { return Find(key) != nullptr; }
  ReadError& error() { return error_; }
  std::string PathOf(std::string_view key) const;

  std::string String(std::string_view key, std::string_view absent = "");
  // One of `allowed`, else `absent`.
  std::string OneOf(std::string_view key, std::initializer_list<std::string_view> allowed,
                    std::string_view absent);
  bool Enabled(std::string_view key);  // Enabled or Disabled, which is the default
  bool Bool(std::string_view key, bool absent);
  std::optional<bool> OptionalBool(std::string_view key);
  int64_t Int(std::string_view key, int64_t min, int64_t max, int64_t absent);
  std::optional<int64_t> OptionalInt(std::string_view key, int64_t min, int64_t max);
  std::optional<uint16_t> OptionalPort(std::string_view key);
  std::vector<std::string> Strings(std::string_view key, size_t max_items);
  std::map<std::string, std::string> StringMap(std::string_view key);

  Reader Object(std::string_view key) { return Reader(Find(key), PathOf(key), error_); }

  // Calls `each(Reader&)` for every item, which must be an object.
  template <typename F>
  void List(std::string_view key, size_t max_items, F each) {
    const nlohmann::json* list = FindList(key, max_items);
    if (list == nullptr) return;
    for (size_t i = 0; i < list->size(); ++i) {
      Reader item(&(*list)[i], PathOf(key) + "[" + std::to_string(i) + "]", error_);
      each(item);
    }
  }

  // The member as it is; nullptr if it is absent or null. Counts as asked for.
  const nlohmann::json* Find(std::string_view key);
  // Members that nobody asks for are fine here, even if strict.
  void AllowOthers() { others_allowed_ = true; }

 private:
  const nlohmann::json* FindList(std::string_view key, size_t max_items);
  std::optional<int64_t> ToInt(const nlohmann::json& value, std::string_view key, int64_t min,
                               int64_t max);

  const nlohmann::json* value_;  // an object, or nullptr
  const std::string path_;
  ReadError& error_;
  bool others_allowed_ = false;
  std::set<std::string, std::less<>> asked_;  // only if strict
};

}  // namespace kube_lvs::api
