#include "kube/api/reader.h"

#include <algorithm>

namespace kube_lvs::api {
namespace {

using nlohmann::json;

std::string WrongType(const json& value, std::string_view wanted) {
  return "must be " + std::string(wanted) + ", not " + value.type_name();
}

}  // namespace

void ReadError::Add(std::string_view path, std::string_view what) {
  if (ok()) message_ = (path.empty() ? "" : std::string(path) + ": ") + std::string(what);
}

Reader::Reader(const json* value, std::string path, ReadError& error)
    : value_(value), path_(std::move(path)), error_(error) {
  if (value_ != nullptr && value_->is_null()) value_ = nullptr;
  if (value_ != nullptr && !value_->is_object()) {
    error_.Add(path_, WrongType(*value_, "an object"));
    value_ = nullptr;
  }
}

Reader::~Reader() {
  if (!error_.strict() || others_allowed_ || value_ == nullptr) return;
  for (auto it = value_->begin(); it != value_->end(); ++it) {
    if (!asked_.contains(it.key())) error_.Add(PathOf(it.key()), "there is no such field");
  }
}

std::string Reader::PathOf(std::string_view key) const {
  return path_.empty() ? std::string(key) : path_ + "." + std::string(key);
}

const json* Reader::Find(std::string_view key) {
  if (value_ == nullptr) return nullptr;
  if (error_.strict()) asked_.emplace(key);
  const auto it = value_->find(std::string(key));
  return it == value_->end() || it->is_null() ? nullptr : &*it;
}

const json* Reader::FindList(std::string_view key, size_t max_items) {
  const json* list = Find(key);
  if (list == nullptr) return nullptr;
  if (!list->is_array()) {
    error_.Add(PathOf(key), WrongType(*list, "a list"));
    return nullptr;
  }
  if (list->size() > max_items) {
    error_.Add(PathOf(key), "has " + std::to_string(list->size()) + " items; at most " +
                                std::to_string(max_items) + " are allowed");
    return nullptr;
  }
  return list;
}

std::string Reader::String(std::string_view key, std::string_view absent) {
  const json* value = Find(key);
  if (value == nullptr) return std::string(absent);
  if (!value->is_string()) {
    error_.Add(PathOf(key), WrongType(*value, "a string"));
    return std::string(absent);
  }
  return value->get<std::string>();
}

std::string Reader::OneOf(std::string_view key, std::initializer_list<std::string_view> allowed,
                          std::string_view absent) {
  const std::string value = String(key, absent);
  if (value == absent || std::ranges::find(allowed, value) != allowed.end()) return value;
  std::string names;
  for (const std::string_view name : allowed)
    names += (names.empty() ? "" : ", ") + std::string(name);
  error_.Add(PathOf(key), "\"" + value.substr(0, 64) + "\" is not one of " + names);
  return std::string(absent);
}

bool Reader::Enabled(std::string_view key) {
  return OneOf(key, {"Enabled", "Disabled"}, "Disabled") == "Enabled";
}

std::optional<bool> Reader::OptionalBool(std::string_view key) {
  const json* value = Find(key);
  if (value == nullptr) return std::nullopt;
  if (!value->is_boolean()) {
    error_.Add(PathOf(key), WrongType(*value, "a boolean"));
    return std::nullopt;
  }
  return value->get<bool>();
}

bool Reader::Bool(std::string_view key, bool absent) { return OptionalBool(key).value_or(absent); }

std::optional<int64_t> Reader::ToInt(const json& value, std::string_view key, int64_t min,
                                     int64_t max) {
  if (!value.is_number_integer()) {
    error_.Add(PathOf(key), WrongType(value, "an integer"));
    return std::nullopt;
  }
  const bool huge =
      value.is_number_unsigned() && value.get<uint64_t>() > static_cast<uint64_t>(INT64_MAX);
  const int64_t number = huge ? INT64_MAX : value.get<int64_t>();
  if (huge || number < min || number > max) {
    error_.Add(PathOf(key), "must be from " + std::to_string(min) + " to " + std::to_string(max));
    return std::nullopt;
  }
  return number;
}

std::optional<int64_t> Reader::OptionalInt(std::string_view key, int64_t min, int64_t max) {
  const json* value = Find(key);
  return value == nullptr ? std::nullopt : ToInt(*value, key, min, max);
}

int64_t Reader::Int(std::string_view key, int64_t min, int64_t max, int64_t absent) {
  return OptionalInt(key, min, max).value_or(absent);
}

std::optional<uint16_t> Reader::OptionalPort(std::string_view key) {
  const std::optional<int64_t> port = OptionalInt(key, 1, 65535);
  if (!port) return std::nullopt;
  return static_cast<uint16_t>(*port);
}

std::vector<std::string> Reader::Strings(std::string_view key, size_t max_items) {
  std::vector<std::string> out;
  const json* list = FindList(key, max_items);
  if (list == nullptr) return out;
  out.reserve(list->size());
  for (size_t i = 0; i < list->size(); ++i) {
    const json& item = (*list)[i];
    if (!item.is_string()) {
      error_.Add(PathOf(key) + "[" + std::to_string(i) + "]", WrongType(item, "a string"));
      return {};
    }
    out.push_back(item.get<std::string>());
  }
  return out;
}

std::map<std::string, std::string> Reader::StringMap(std::string_view key) {
  std::map<std::string, std::string> out;
  const json* value = Find(key);
  if (value == nullptr) return out;
  if (!value->is_object()) {
    error_.Add(PathOf(key), WrongType(*value, "an object"));
    return out;
  }
  for (auto it = value->begin(); it != value->end(); ++it) {
    if (!it->is_string()) {
      error_.Add(PathOf(key) + "." + it.key(), WrongType(*it, "a string"));
      return {};
    }
    out.emplace(it.key(), it->get<std::string>());
  }
  return out;
}

}  // namespace kube_lvs::api
