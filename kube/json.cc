#include "kube/json.h"

#include <limits>
#include <nlohmann/json.hpp>

#include "base/status.h"

namespace kube_lvs::kube {
namespace {

using nlohmann::json;

std::string PathText(std::initializer_list<std::string_view> path) {
  std::string text;
  for (const std::string_view step : path) {
    if (!text.empty()) text += '.';
    text += step;
  }
  return text;
}

absl::Status WrongType(std::initializer_list<std::string_view> path, const json& value,
                       const char* wanted) {
  return absl::InvalidArgumentError(PathText(path) + ": is a " + value.type_name() + ", not a " +
                                    wanted);
}

// Goes through JSON text by its structure alone: what it skips is not checked further.
class Scanner {
 public:
  explicit Scanner(std::string_view text) : text_(text) {}

  void SkipSpace() {
    while (at_ < text_.size() &&
           (text_[at_] == ' ' || text_[at_] == '\t' || text_[at_] == '\n' || text_[at_] == '\r')) {
      ++at_;
    }
  }

  bool AtEnd() {
    SkipSpace();
    return at_ == text_.size();
  }

  // Skips white space and `c`, if it is there.
  bool Take(char c) {
    SkipSpace();
    if (at_ == text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }

  // The next string with its quotes, or empty if there is none.
  std::string_view TakeString() {
    SkipSpace();
    const size_t start = at_;
    if (at_ == text_.size() || text_[at_] != '"') return {};
    for (++at_; at_ < text_.size(); ++at_) {
      if (text_[at_] == '\\') {
        ++at_;
      } else if (text_[at_] == '"') {
        ++at_;
        return text_.substr(start, at_ - start);
      }
    }
    at_ = text_.size();
    return {};
  }

  // The next value, or empty if it is cut off or not there.
  std::string_view TakeValue() {
    SkipSpace();
    const size_t start = at_;
    if (at_ == text_.size()) return {};
    if (text_[at_] == '"') return TakeString();
    if (text_[at_] != '{' && text_[at_] != '[') {
      const size_t end = text_.find_first_of(",]} \t\r\n", at_);
      at_ = end == std::string_view::npos ? text_.size() : end;
      return text_.substr(start, at_ - start);
    }
    size_t depth = 0;
    while (at_ < text_.size()) {
      const char c = text_[at_];
      if (c == '"') {
        if (TakeString().empty()) return {};
        continue;
      }
      ++at_;
      if (c == '{' || c == '[') ++depth;
      if ((c == '}' || c == ']') && --depth == 0) return text_.substr(start, at_ - start);
    }
    return {};
  }

  size_t at() const { return at_; }

 private:
  const std::string_view text_;
  size_t at_ = 0;
};

size_t Depth(std::string_view text) {
  size_t depth = 0;
  size_t most = 0;
  bool quoted = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (quoted) {
      if (c == '\\') ++i;
      if (c == '"') quoted = false;
    } else if (c == '"') {
      quoted = true;
    } else if (c == '{' || c == '[') {
      most = std::max(most, ++depth);
    } else if ((c == '}' || c == ']') && depth > 0) {
      --depth;
    }
  }
  return most;
}

absl::Status NotAList(size_t at, const std::string& why) {
  return absl::InvalidArgumentError("list at byte " + std::to_string(at) + ": " + why);
}

absl::Status SplitItems(Scanner& scanner, ListPage& page) {
  if (!scanner.Take('[')) {
    if (scanner.TakeValue() == "null") return absl::OkStatus();
    return NotAList(scanner.at(), "items is not an array");
  }
  if (scanner.Take(']')) return absl::OkStatus();
  do {
    const std::string_view item = scanner.TakeValue();
    if (item.empty()) return NotAList(scanner.at(), "an item is missing or cut off");
    page.items.push_back(item);
  } while (scanner.Take(','));
  if (!scanner.Take(']')) return NotAList(scanner.at(), "no ] after the items");
  return absl::OkStatus();
}

absl::StatusOr<std::map<std::string, std::string>> DecodeStringMap(const json& object,
                                                                   std::string_view name) {
  std::map<std::string, std::string> out;
  const json* map = FindJson(object, {"metadata", name});
  if (map == nullptr) return out;
  if (!map->is_object()) return WrongType({"metadata", name}, *map, "map of strings");
  for (const auto& [key, value] : map->items()) {
    if (!value.is_string()) return WrongType({"metadata", name, key}, value, "string");
    out.emplace(key, value.get_ref<const std::string&>());
  }
  return out;
}

}  // namespace

absl::StatusOr<json> ParseJson(std::string_view text) {
  if (Depth(text) > kMaxJsonDepth) {
    return absl::InvalidArgumentError("JSON nested deeper than " + std::to_string(kMaxJsonDepth));
  }
  try {
    json value = json::parse(text.begin(), text.end());
    if (value.is_object()) {
      if (const auto metadata = value.find("metadata");
          metadata != value.end() && metadata->is_object()) {
        metadata->erase("managedFields");
      }
    }
    return value;
  } catch (const std::exception& error) {
    return absl::InvalidArgumentError(std::string("not JSON: ") + error.what());
  }
}

std::string DumpJson(const json& value) {
  return value.dump(-1, ' ', false, json::error_handler_t::replace);
}

const json* FindJson(const json& value, std::initializer_list<std::string_view> path) {
  const json* at = &value;
  for (const std::string_view step : path) {
    if (!at->is_object()) return nullptr;
    const auto member = at->find(std::string(step));
    if (member == at->end() || member->is_null()) return nullptr;
    at = &*member;
  }
  return at;
}

absl::StatusOr<std::string> JsonString(const json& value,
                                       std::initializer_list<std::string_view> path,
                                       std::string_view absent) {
  const json* found = FindJson(value, path);
  if (found == nullptr) return std::string(absent);
  if (!found->is_string()) return WrongType(path, *found, "string");
  return found->get_ref<const std::string&>();
}

absl::StatusOr<int64_t> JsonInt(const json& value, std::initializer_list<std::string_view> path,
                                int64_t absent) {
  const json* found = FindJson(value, path);
  if (found == nullptr) return absent;
  if (!found->is_number_integer()) return WrongType(path, *found, "whole number");
  if (found->is_number_unsigned() &&
      found->get<uint64_t>() > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) {
    return absl::InvalidArgumentError(PathText(path) + ": is beyond 64 bits");
  }
  return found->get<int64_t>();
}

absl::StatusOr<bool> JsonBool(const json& value, std::initializer_list<std::string_view> path,
                              bool absent) {
  const json* found = FindJson(value, path);
  if (found == nullptr) return absent;
  if (!found->is_boolean()) return WrongType(path, *found, "boolean");
  return found->get<bool>();
}

absl::StatusOr<ObjectMeta> DecodeMeta(const json& object) {
  if (!object.is_object()) return absl::InvalidArgumentError("an object is not a JSON object");
  ObjectMeta meta;
  KUBE_LVS_ASSIGN_OR_RETURN(meta.ns, JsonString(object, {"metadata", "namespace"}));
  KUBE_LVS_ASSIGN_OR_RETURN(meta.name, JsonString(object, {"metadata", "name"}));
  KUBE_LVS_ASSIGN_OR_RETURN(meta.uid, JsonString(object, {"metadata", "uid"}));
  KUBE_LVS_ASSIGN_OR_RETURN(meta.resource_version,
                            JsonString(object, {"metadata", "resourceVersion"}));
  KUBE_LVS_ASSIGN_OR_RETURN(meta.generation, JsonInt(object, {"metadata", "generation"}));
  KUBE_LVS_ASSIGN_OR_RETURN(const std::string deletion,
                            JsonString(object, {"metadata", "deletionTimestamp"}));
  meta.deleting = !deletion.empty();
  KUBE_LVS_ASSIGN_OR_RETURN(meta.labels, DecodeStringMap(object, "labels"));
  KUBE_LVS_ASSIGN_OR_RETURN(meta.annotations, DecodeStringMap(object, "annotations"));
  return meta;
}

absl::StatusOr<ListPage> SplitList(std::string_view text) {
  ListPage page;
  bool has_metadata = false;
  bool has_items = false;
  Scanner scanner(text);
  if (!scanner.Take('{')) return NotAList(scanner.at(), "not a JSON object");
  if (!scanner.Take('}')) {
    do {
      const std::string_view key = scanner.TakeString();
      if (key.empty() || !scanner.Take(':')) return NotAList(scanner.at(), "no \"name\": here");
      if (key == "\"items\"") {
        if (std::exchange(has_items, true)) return NotAList(scanner.at(), "items twice");
        KUBE_LVS_RETURN_IF_ERROR(SplitItems(scanner, page));
        continue;
      }
      const std::string_view value = scanner.TakeValue();
      if (value.empty()) return NotAList(scanner.at(), "a value is missing or cut off");
      if (key == "\"metadata\"") {
        has_metadata = true;
        KUBE_LVS_ASSIGN_OR_RETURN(const json metadata, ParseJson(value));
        KUBE_LVS_ASSIGN_OR_RETURN(page.resource_version, JsonString(metadata, {"resourceVersion"}));
        KUBE_LVS_ASSIGN_OR_RETURN(page.continue_token, JsonString(metadata, {"continue"}));
      }
    } while (scanner.Take(','));
    if (!scanner.Take('}')) return NotAList(scanner.at(), "cut off");
  }
  if (!scanner.AtEnd()) return NotAList(scanner.at(), "bytes after the end");
  if (!has_metadata || !has_items) return NotAList(scanner.at(), "no metadata or no items");
  return page;
}

}  // namespace kube_lvs::kube
