#include "dataplane/ipvs/attributes.h"

#include <algorithm>
#include <string>

namespace kube_lvs::ipvs {
namespace {

constexpr size_t kHeader = 4;

size_t Padded(size_t size) { return (size + 3) & ~size_t{3}; }

}  // namespace

void AttributeWriter::Put(uint16_t type, ByteView value) {
  const size_t begin = Begin(type);
  out_.insert(out_.end(), value.begin(), value.end());
  End(begin);
}

void AttributeWriter::PutString(uint16_t type, std::string_view text) {
  const size_t begin = Begin(type);
  out_.insert(out_.end(), text.begin(), text.end());
  out_.push_back(0);
  End(begin);
}

void AttributeWriter::PutPort(uint16_t type, uint16_t port) {
  const uint8_t raw[] = {static_cast<uint8_t>(port >> 8), static_cast<uint8_t>(port)};
  Put(type, raw);
}

size_t AttributeWriter::Begin(uint16_t type) {
  const size_t begin = out_.size();
  out_.resize(begin + kHeader);
  std::memcpy(out_.data() + begin + 2, &type, sizeof type);
  return begin;
}

void AttributeWriter::End(size_t begin) {
  const auto size = static_cast<uint16_t>(out_.size() - begin);
  std::memcpy(out_.data() + begin, &size, sizeof size);
  out_.resize(begin + Padded(size));
}

absl::Status WrongSize(const Attribute& attribute, std::string_view name, size_t wanted) {
  return absl::InternalError("IPVS message: " + std::string(name) + " has " +
                             std::to_string(attribute.value.size()) + " bytes, not " +
                             std::to_string(wanted));
}

absl::Status BadAttribute(ByteView bytes) {
  if (bytes.size() < kHeader) {
    return absl::InternalError("IPVS message: an attribute is cut off in its header");
  }
  uint16_t size, type;
  std::memcpy(&size, bytes.data(), sizeof size);
  std::memcpy(&type, bytes.data() + 2, sizeof type);
  return absl::InternalError("IPVS message: attribute " + std::to_string(type) + " says it has " +
                             std::to_string(size) + " bytes of " + std::to_string(bytes.size()));
}

absl::StatusOr<std::vector<Attribute>> ParseAttributes(ByteView bytes) {
  std::vector<Attribute> out;
  const absl::Status status = ForEachAttribute(bytes, [&out](const Attribute& attribute) {
    out.push_back(attribute);
    return absl::OkStatus();
  });
  if (!status.ok()) return status;
  return out;
}

absl::StatusOr<uint16_t> PortOf(const Attribute& attribute, std::string_view name) {
  if (attribute.value.size() != 2) return WrongSize(attribute, name, 2);
  return static_cast<uint16_t>(attribute.value[0] << 8 | attribute.value[1]);
}

absl::StatusOr<std::string> TextOf(const Attribute& attribute, std::string_view name) {
  const auto nul = std::ranges::find(attribute.value, uint8_t{0});
  if (nul == attribute.value.end() || nul + 1 != attribute.value.end()) {
    return absl::InternalError("IPVS message: " + std::string(name) +
                               " is not text that ends with its one NUL");
  }
  return std::string(attribute.value.begin(), nul);
}

}  // namespace kube_lvs::ipvs
