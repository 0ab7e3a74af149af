#include "dataplane/ipvs/journal.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <optional>
#include <vector>

#include "base/status.h"

namespace kube_lvs::ipvs {
namespace {

constexpr std::string_view kMagic = "kube-lvs IPVS journal 1 ";

// CRC-32 as in zlib.
uint32_t Crc(std::string_view text) {
  uint32_t crc = ~uint32_t{0};
  for (const char c : text) {
    crc ^= static_cast<uint8_t>(c);
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ (crc & 1 ? 0xedb88320u : 0);
  }
  return ~crc;
}

std::string Line(const std::string& text) {
  std::array<char, 16> crc;
  std::snprintf(crc.data(), crc.size(), " %08x\n", Crc(text));
  return text + crc.data();
}

std::string KeyText(const ServiceKey& key) {
  if (const auto* mark = std::get_if<FwMark>(&key.match)) {
    return "fwmark " + std::to_string(mark->mark) +
           (mark->family == Family::kIpv4 ? "/IPv4" : "/IPv6");
  }
  if (const auto* all = std::get_if<AllPorts>(&key.match)) return "all " + all->vip.ToString();
  if (const auto* prefix = std::get_if<Prefix>(&key.match)) {
    const std::string vips = prefix->vips.ToString();
    if (prefix->HasAllPorts()) return "all " + vips;
    return ToString(key.protocol) + " " + vips + "," + std::to_string(prefix->first) + "-" +
           std::to_string(prefix->last);
  }
  if (const auto* range = std::get_if<PortRange>(&key.match)) {
    return ToString(key.protocol) + " " + Endpoint{range->vip, range->first}.ToString() + "-" +
           std::to_string(range->last);
  }
  return ToString(key.protocol) + " " + std::get<Endpoint>(key.match).ToString();
}

std::string AddLine(const ServiceKey& key, const Kept& kept) {
  return Line("+ " + KeyText(key) + (kept.source_nat ? " source-nat" : " plain") +
              (kept.mark != 0 ? " " + std::to_string(kept.mark) : ""));
}

std::string RemoveLine(const ServiceKey& key) { return Line("- " + KeyText(key)); }

std::vector<std::string_view> Words(std::string_view line) {
  std::vector<std::string_view> out;
  while (!line.empty()) {
    const size_t space = std::min(line.find(' '), line.size());
    out.push_back(line.substr(0, space));
    line.remove_prefix(std::min(space + 1, line.size()));
  }
  return out;
}

// "198.51.100.0/24,80-90"
std::optional<Prefix> ParsePrefix(std::string_view text) {
  const size_t comma = text.find(','), dash = text.rfind('-');
  if (comma == std::string_view::npos || dash == std::string_view::npos || dash < comma) {
    return std::nullopt;
  }
  const auto vips = Cidr::Parse(text.substr(0, comma));
  const auto first = ParseNumber(text.substr(comma + 1, dash - comma - 1), UINT16_MAX);
  const auto last = ParseNumber(text.substr(dash + 1), UINT16_MAX);
  if (!vips.ok() || !first.ok() || !last.ok()) return std::nullopt;
  return Prefix{*vips, static_cast<uint16_t>(*first), static_cast<uint16_t>(*last)};
}

std::optional<ServiceKey> ParseKey(std::string_view kind, std::string_view what) {
  ServiceKey key{.dataplane = Dataplane::kIpvs, .match = {}, .protocol = Protocol::kTcp};
  if (kind == "fwmark") {
    if (what.size() < 6) return std::nullopt;
    const std::string_view family = what.substr(what.size() - 5);
    const auto mark = ParseNumber(what.substr(0, what.size() - 5), UINT32_MAX);
    if (!mark.ok() || (family != "/IPv4" && family != "/IPv6")) return std::nullopt;
    key.match = FwMark{.mark = static_cast<uint32_t>(*mark),
                       .family = family == "/IPv4" ? Family::kIpv4 : Family::kIpv6};
    return key;
  }
  const bool of_prefix = what.find('/') != std::string_view::npos;
  if (kind == "all") {
    if (of_prefix) {
      const auto vips = Cidr::Parse(what);
      if (!vips.ok()) return std::nullopt;
      key.match = Prefix{.vips = *vips};
      return key;
    }
    const auto vip = IpAddress::Parse(what);
    if (!vip.ok()) return std::nullopt;
    key.match = AllPorts{*vip};
    return key;
  }
  for (const Protocol protocol : {Protocol::kTcp, Protocol::kUdp, Protocol::kSctp}) {
    if (kind != ToString(protocol)) continue;
    key.protocol = protocol;
    if (of_prefix) {
      const auto prefix = ParsePrefix(what);
      if (!prefix) return std::nullopt;
      key.match = *prefix;
      return key;
    }
    if (const size_t dash = what.rfind('-'); dash != std::string_view::npos) {
      const auto first = Endpoint::Parse(what.substr(0, dash));
      const auto last = ParseNumber(what.substr(dash + 1), UINT16_MAX);
      if (!first.ok() || !last.ok()) return std::nullopt;
      key.match = PortRange{first->ip, first->port, static_cast<uint16_t>(*last)};
      return key;
    }
    const auto vip = Endpoint::Parse(what);
    if (!vip.ok()) return std::nullopt;
    key.match = *vip;
    return key;
  }
  return std::nullopt;
}

// Takes one record into `claims`. False: not a record.
bool Take(std::string_view record, Claims& claims) {
  const auto words = Words(record);
  if (words.size() < 3) return false;
  const auto key = ParseKey(words[1], words[2]);
  if (!key) return false;
  if (words[0] == "-" && words.size() == 3) {
    claims.erase(*key);
    return true;
  }
  const bool marked = NeedsMark(*key);
  if (words[0] != "+" || words.size() != (marked ? 5 : 4)) return false;
  if (words[3] != "plain" && words[3] != "source-nat") return false;
  Kept kept{.source_nat = words[3] == "source-nat"};
  if (marked) {
    const auto mark = ParseNumber(words[4], UINT32_MAX);
    if (!mark.ok() || *mark == 0) return false;
    kept.mark = static_cast<uint32_t>(*mark);
  }
  claims[*key] = kept;
  return true;
}

absl::Status Broken(size_t line) {
  return absl::DataLossError("line " + std::to_string(line) +
                             " is damaged. Remove the file: services stay in the kernel, and are "
                             "reported as another owner's until they are removed by hand");
}

absl::Status SystemError(const std::string& doing) {
  const int error = errno;
  const std::string text = doing + ": " + std::strerror(error);
  if (error == EACCES || error == EPERM || error == EROFS) {
    return absl::PermissionDeniedError(text);
  }
  if (error == ENOENT) return absl::NotFoundError(text);
  return absl::UnavailableError(text);
}

absl::Status WriteAll(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t wrote = write(fd, text.data(), text.size());
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote <= 0) return SystemError("writing");
    text.remove_prefix(static_cast<size_t>(wrote));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> ReadAll(const std::string& path) {
  const UniqueFd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.ok()) {
    if (errno == ENOENT) return std::string();
    return SystemError("opening");
  }
  std::string out;
  std::array<char, 65536> buffer;
  for (;;) {
    const ssize_t got = read(fd.get(), buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return SystemError("reading");
    if (got == 0) return out;
    out.append(buffer.data(), static_cast<size_t>(got));
  }
}

// Writes the whole file anew under another name and puts it in the place of the old one. Returns
// the new file, open for appending.
absl::StatusOr<UniqueFd> Replace(const std::string& path, std::string_view text) {
  const std::string fresh = path + ".new";
  UniqueFd fd(open(fresh.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600));
  if (!fd.ok()) return SystemError("opening");
  KUBE_LVS_RETURN_IF_ERROR(WriteAll(fd.get(), text));
  if (fsync(fd.get()) != 0) return SystemError("syncing");
  if (rename(fresh.c_str(), path.c_str()) != 0) return SystemError("renaming");
  const size_t slash = path.rfind('/');
  const std::string directory = slash == std::string::npos ? "." : path.substr(0, slash + 1);
  const UniqueFd dir(open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!dir.ok() || fsync(dir.get()) != 0) return SystemError("syncing the directory");
  return fd;
}

}  // namespace

const ServiceKey* OursOf(const Claims& claims, const ServiceKey& in_kernel) {
  const auto found = claims.find(in_kernel);
  if (found != claims.end()) return &found->first;
  const auto* mark = std::get_if<FwMark>(&in_kernel.match);
  if (mark == nullptr) return nullptr;
  for (const auto& [key, kept] : claims) {
    if (kept.mark == mark->mark && NeedsMark(key) && VipOf(key)->family == mark->family) {
      return &key;
    }
  }
  return nullptr;
}

std::string JournalText(const Claims& claims, std::string_view boot_id) {
  std::string out = Line(std::string(kMagic) + std::string(boot_id));
  for (const auto& [key, kept] : claims) out += AddLine(key, kept);
  return out;
}

absl::StatusOr<Claims> ParseJournal(std::string_view text, std::string_view boot_id) {
  const std::string_view begin = text.substr(0, kMagic.size());
  if (begin != kMagic.substr(0, begin.size())) return Broken(1);
  Claims claims;
  bool this_boot = true;
  for (size_t number = 1;; ++number) {
    const size_t end = text.find('\n');
    if (end == std::string_view::npos) break;  // torn, or the end
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(end + 1);
    const size_t space = line.rfind(' ');
    if (space == std::string_view::npos) return Broken(number);
    const std::string_view record = line.substr(0, space);
    if (Line(std::string(record)) != std::string(line) + "\n") return Broken(number);
    if (number == 1) {
      if (!record.starts_with(kMagic)) return Broken(1);
      this_boot = record.substr(kMagic.size()) == boot_id;
    } else if (!Take(record, claims)) {
      return Broken(number);
    }
  }
  if (!this_boot) claims.clear();
  return claims;
}

Journal::Journal(std::string path, UniqueFd fd, size_t size, Claims claims)
    : path_(std::move(path)), fd_(std::move(fd)), size_(size), claims_(std::move(claims)) {}

absl::StatusOr<Journal> Journal::Open(const std::string& path, const std::string& boot_id) {
  const auto text = ReadAll(path);
  if (!text.ok()) return Annotate(text.status(), path);
  std::string_view id = boot_id;
  while (!id.empty() && id.back() == '\n') id.remove_suffix(1);
  auto claims = ParseJournal(*text, id);
  if (!claims.ok()) return Annotate(claims.status(), path);
  const std::string compact = JournalText(*claims, id);
  auto fd = Replace(path, compact);
  if (!fd.ok()) return Annotate(fd.status(), path);
  return Journal(path, *std::move(fd), compact.size(), *std::move(claims));
}

absl::Status Journal::Append(std::string_view text) {
  if (broken_) {
    return absl::UnavailableError(path_ + ": a write failed and could not be taken back: restart");
  }
  const absl::Status status = WriteAll(fd_.get(), text);
  if (!status.ok()) {
    // No torn line may stand before a later one.
    broken_ = ftruncate(fd_.get(), static_cast<off_t>(size_)) != 0;
    return Annotate(status, path_);
  }
  size_ += text.size();
  return absl::OkStatus();
}

absl::Status Journal::Add(std::span<const Claim> claims) {
  if (claims.empty()) return absl::OkStatus();
  std::string text;
  for (const Claim& claim : claims) {
    text += AddLine(claim.key, {.source_nat = claim.source_nat, .mark = claim.mark});
  }
  KUBE_LVS_RETURN_IF_ERROR(Append(text));
  if (fdatasync(fd_.get()) != 0) {
    const absl::Status status = Annotate(SystemError("syncing"), path_);
    // Whether the records are on the disk is not known, so they are taken back.
    size_ -= text.size();
    broken_ = ftruncate(fd_.get(), static_cast<off_t>(size_)) != 0;
    return status;
  }
  for (const Claim& claim : claims) {
    claims_[claim.key] = {.source_nat = claim.source_nat, .mark = claim.mark};
  }
  return absl::OkStatus();
}

absl::Status Journal::SetSourceNat(const ServiceKey& key, bool source_nat) {
  const auto it = claims_.find(key);
  if (it == claims_.end()) return absl::NotFoundError(ToString(key) + " is not ours");
  Kept kept = it->second;
  kept.source_nat = source_nat;
  if (it->second == kept) return absl::OkStatus();
  KUBE_LVS_RETURN_IF_ERROR(Append(AddLine(key, kept)));
  it->second = kept;
  return absl::OkStatus();
}

absl::Status Journal::Remove(const ServiceKey& key) {
  if (!claims_.contains(key)) return absl::OkStatus();
  KUBE_LVS_RETURN_IF_ERROR(Append(RemoveLine(key)));
  claims_.erase(key);
  return absl::OkStatus();
}

}  // namespace kube_lvs::ipvs
