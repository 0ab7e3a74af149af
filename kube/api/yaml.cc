#include "kube/api/yaml.h"

#include <yaml-cpp/yaml.h>

#include <charconv>
#include <cmath>
#include <exception>
#include <string>
#include <utility>

namespace kube_lvs::api {
namespace {

using nlohmann::json;

absl::Status Wrong(const YAML::Mark& mark, const std::string& what) {
  return absl::InvalidArgumentError("line " + std::to_string(mark.line + 1) + ": " + what);
}

bool IsOneOf(const std::string& text, std::initializer_list<const char*> words) {
  for (const char* word : words) {
    if (text == word) return true;
  }
  return false;
}

// A decimal integer as YAML 1.2's JSON schema has it: no leading zero (which YAML 1.1 reads as
// octal, so it is nobody's number here), no '+', no '_'.
bool IsInteger(std::string_view text) {
  if (text.starts_with('-')) text.remove_prefix(1);
  if (text.empty() || text.size() > 19 || (text.size() > 1 && text[0] == '0')) return false;
  return text.find_first_not_of("0123456789") == std::string_view::npos;
}

bool IsFloat(std::string_view text) {
  if (text.size() > 64) return false;
  if (text.starts_with('-')) text.remove_prefix(1);
  if (text.empty() || text[0] < '0' || text[0] > '9') return false;
  size_t digits = 0, dots = 0, exponents = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c >= '0' && c <= '9') {
      ++digits;
    } else if (c == '.' && dots == 0 && exponents == 0) {
      ++dots;
    } else if ((c == 'e' || c == 'E') && exponents == 0 && i + 1 < text.size()) {
      ++exponents;
      if ((text[i + 1] == '+' || text[i + 1] == '-') && i + 2 < text.size()) ++i;
    } else {
      return false;
    }
  }
  return digits > 0 && dots + exponents > 0;
}

json PlainScalar(const std::string& text) {
  if (IsOneOf(text, {"", "~", "null", "Null", "NULL"})) return nullptr;
  if (IsOneOf(text, {"true", "True", "TRUE"})) return true;
  if (IsOneOf(text, {"false", "False", "FALSE"})) return false;
  if (IsInteger(text)) {
    int64_t number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error == std::errc() && end == text.data() + text.size()) return number;
  }
  if (IsFloat(text)) {
    double number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error == std::errc() && end == text.data() + text.size() && std::isfinite(number)) {
      return number;
    }
  }
  return text;
}

class Converter {
 public:
  explicit Converter(const YamlLimits& limits) : limits_(limits) {}

  absl::Status Convert(const YAML::Node& node, size_t depth, json& out) {
    if (depth > limits_.depth) {
      return Wrong(node.Mark(), "is nested deeper than " + std::to_string(limits_.depth));
    }
    if (++nodes_ > limits_.nodes) {
      return Wrong(node.Mark(),
                   "the text stands for more than " + std::to_string(limits_.nodes) + " values");
    }
    switch (node.Type()) {
      case YAML::NodeType::Undefined:
      case YAML::NodeType::Null:
        out = nullptr;
        return absl::OkStatus();
      case YAML::NodeType::Scalar:
        // Aliases can make much out of little.
        bytes_ += node.Scalar().size();
        if (bytes_ > 4 * limits_.bytes) {
          return Wrong(node.Mark(), "the text stands for too many bytes");
        }
        return ConvertScalar(node, out);
      case YAML::NodeType::Sequence:
        out = json::array();
        for (const YAML::Node& item : node) {
          out.emplace_back();
          if (absl::Status status = Convert(item, depth + 1, out.back()); !status.ok()) {
            return status;
          }
        }
        return absl::OkStatus();
      case YAML::NodeType::Map:
        return ConvertMap(node, depth, out);
    }
    return Wrong(node.Mark(), "is of no kind that YAML knows");
  }

 private:
  static absl::Status ConvertScalar(const YAML::Node& node, json& out) {
    // yaml-cpp's tags: "?" plain, "!" quoted, else what is written.
    const std::string& tag = node.Tag();
    if (tag == "?" || tag.empty()) {
      out = PlainScalar(node.Scalar());
    } else if (tag == "!" || tag == "tag:yaml.org,2002:str") {
      out = node.Scalar();
    } else {
      return Wrong(node.Mark(), "tag " + tag.substr(0, 64) + " is not supported");
    }
    return absl::OkStatus();
  }

  absl::Status ConvertMap(const YAML::Node& node, size_t depth, json& out) {
    out = json::object();
    for (const auto& entry : node) {
      if (!entry.first.IsScalar()) return Wrong(entry.first.Mark(), "a key must be a text");
      const std::string& key = entry.first.Scalar();
      if (key == "<<" && entry.first.Tag() == "?") {
        return Wrong(entry.first.Mark(), "merge keys (<<) are not supported");
      }
      if (out.contains(key)) {
        return Wrong(entry.first.Mark(), "key \"" + key.substr(0, 64) + "\" is there twice");
      }
      if (absl::Status status = Convert(entry.second, depth + 1, out[key]); !status.ok()) {
        return status;
      }
    }
    return absl::OkStatus();
  }

  const YamlLimits limits_;
  size_t nodes_ = 0;
  size_t bytes_ = 0;
};

}  // namespace

absl::StatusOr<std::vector<YamlDocument>> ParseYaml(std::string_view text,
                                                    const YamlLimits& limits) {
  if (text.size() > limits.bytes) {
    return absl::InvalidArgumentError("the text is longer than " + std::to_string(limits.bytes) +
                                      " bytes");
  }
  try {
    std::vector<YamlDocument> out;
    Converter converter(limits);
    for (const YAML::Node& node : YAML::LoadAll(std::string(text))) {
      YamlDocument document{.value = nullptr, .line = node.Mark().line + 1};
      if (absl::Status status = converter.Convert(node, 1, document.value); !status.ok()) {
        return status;
      }
      if (!document.value.is_null()) out.push_back(std::move(document));
    }
    return out;
  } catch (const YAML::Exception& e) {
    return Wrong(e.mark, e.msg);
  } catch (const std::exception& e) {
    return absl::InvalidArgumentError(std::string("the text cannot be read: ") + e.what());
  }
}

}  // namespace kube_lvs::api
