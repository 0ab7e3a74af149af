// The seam to the kernel: bytes of messages in, error numbers and bytes of messages out. The
// kernel's netlink socket implements it, and a fake as strict as the kernel.
#pragma once

#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "dataplane/ipvs/attributes.h"

namespace kube_lvs::ipvs {

// Messages in order, one behind the other in one piece of memory. Views are good until the next
// Add.
class Messages {
 public:
  class Iterator {
   public:
    Iterator(const Messages& of, size_t at) : of_(&of), at_(at) {}
    ByteView operator*() const { return (*of_)[at_]; }
    Iterator& operator++() {
      ++at_;
      return *this;
    }
    bool operator==(const Iterator&) const = default;

   private:
    const Messages* of_;
    size_t at_;
  };

  void Add(ByteView message) {
    // As many real servers as most services have.
    if (empty()) Reserve(16, message.size());
    bytes_.insert(bytes_.end(), message.begin(), message.end());
    ends_.push_back(bytes_.size());
  }
  size_t size() const { return ends_.size(); }
  bool empty() const { return ends_.empty(); }
  ByteView operator[](size_t at) const {
    const size_t begin = at == 0 ? 0 : ends_[at - 1];
    return ByteView(bytes_).subspan(begin, ends_[at] - begin);
  }
  Iterator begin() const { return {*this, 0}; }
  Iterator end() const { return {*this, size()}; }

 private:
  void Reserve(size_t messages, size_t size_of_each) {
    bytes_.reserve(messages * size_of_each);
    ends_.reserve(messages);
  }

  Bytes bytes_;
  std::vector<size_t> ends_;
};

// Not thread-safe.
class Channel {
 public:
  virtual ~Channel() = default;

  // Sends the requests in order and returns for each what the kernel said: 0 or an errno. Every
  // request is tried, also after one that failed. A status that is not OK: the channel itself
  // failed, and how many of the requests were applied is not known. kFailedPrecondition: the kernel
  // has no IPVS; kPermissionDenied: not allowed; kUnavailable: try again.
  virtual absl::StatusOr<std::vector<int>> Send(std::span<const Bytes> requests) = 0;

  // All messages that answer a request for a dump; a dump that the kernel calls inconsistent is
  // asked for again. Errors as above, and StatusOf's for an errno.
  virtual absl::StatusOr<Messages> Dump(const Bytes& request) = 0;

  // The one message that answers a request.
  virtual absl::StatusOr<Bytes> Ask(const Bytes& request) = 0;
};

}  // namespace kube_lvs::ipvs
