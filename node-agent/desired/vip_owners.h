// Which services have which VIPs: those that have the same share them port by port, but no two that
// are not the same may overlap. Pure.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "base/ip.h"

namespace kube_lvs {

class VipOwners {
 public:
  // `service`: "namespace/name". The first owner of the same VIPs is kept.
  void Add(const Cidr& vips, const std::string& service);

  // Whose other VIPs `vips` overlap, as a sentence with the mend; "" if nobody's.
  std::string Conflict(const Cidr& vips, const std::string& service) const;

 private:
  std::map<Cidr, std::string> hosts_, prefixes_;
};

}  // namespace kube_lvs
