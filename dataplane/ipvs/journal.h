// Which IPVS services are ours. The kernel keeps no owner, so we write down each key before we add
// it; what is in the kernel and not in the journal is another owner's and never touched.
//
// The file is text, a line a record, each with its CRC-32: a header with the boot id, then keys
// added (with what the kernel cannot keep of their settings) and removed. It only grows, and is
// rewritten compactly, atomically, when opened. A crash at any byte leaves the records before it. A
// journal of an earlier boot is empty: the kernel's rules went with that boot, and whoever holds
// such a key now is another owner.
#pragma once

#include <map>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/unique_fd.h"
#include "dataplane/model/service.h"

namespace kube_lvs::ipvs {

// What IPVS does not keep for us of a service.
struct Kept {
  bool source_nat = false;
  uint32_t mark = 0;  // of a service that NeedsMark: the one that IPVS has it by; else 0
  bool operator==(const Kept&) const = default;
};

// A key that is ours.
struct Claim {
  ServiceKey key;
  bool source_nat = false;
  uint32_t mark = 0;
  bool operator==(const Claim&) const = default;
};

using Claims = std::map<ServiceKey, Kept>;

// The key of ours that IPVS has as `in_kernel`, itself or by its mark; nullptr if none.
const ServiceKey* OursOf(const Claims& claims, const ServiceKey& in_kernel);

// Pure. The journal's text for these claims.
std::string JournalText(const Claims& claims, std::string_view boot_id);
// Pure. What a journal's text says; a torn last line is ignored. kDataLoss, with the line, for what
// no crash explains.
absl::StatusOr<Claims> ParseJournal(std::string_view text, std::string_view boot_id);

// Not thread-safe. One for each network namespace.
class Journal {
 public:
  // Reads, compacts and opens the file at `path`, which need not be there; its directory must be.
  // `boot_id`: the content of /proc/sys/kernel/random/boot_id.
  static absl::StatusOr<Journal> Open(const std::string& path, const std::string& boot_id);
  Journal(Journal&&) = default;
  Journal& operator=(Journal&&) = default;

  const Claims& claims() const { return claims_; }
  bool Owns(const ServiceKey& key) const { return claims_.contains(key); }

  // Writes the claims down and syncs them to the disk, once for all. On failure none is ours.
  // A key that is ours already gets what the claim says.
  absl::Status Add(std::span<const Claim> claims);
  // As Add, without the sync.
  absl::Status SetSourceNat(const ServiceKey& key, bool source_nat);
  // Not synced: a removal that is lost only makes a key ours that nobody has.
  absl::Status Remove(const ServiceKey& key);

 private:
  Journal(std::string path, UniqueFd fd, size_t size, Claims claims);
  absl::Status Append(std::string_view text);

  std::string path_;
  UniqueFd fd_;
  size_t size_ = 0;  // of the records that are whole
  bool broken_ = false;
  Claims claims_;
};

}  // namespace kube_lvs::ipvs
