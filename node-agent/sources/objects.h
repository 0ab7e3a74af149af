// The objects that the agent reads, of all kinds together: by identity, as YAML text, and as a
// snapshot. Pure.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "kube/api/decode.h"
#include "node-agent/sources/snapshot.h"

namespace kube_lvs {

// Kind and "ns/name": what makes two versions the same object.
using ObjectId = std::pair<size_t, std::string>;  // the kind's index in api::AnyObject

ObjectId IdOf(const api::AnyObject& object);
std::string ToString(const ObjectId& id);  // "LVSService shop/web"

// The maps of a snapshot from single objects; the other fields are as default.
Snapshot SnapshotOf(const std::map<ObjectId, api::AnyObject>& objects);

// A text for the objects of a snapshot that is YAML, with one document a line, and back. Objects
// that cannot be decoded are left out and named in `problems`.
std::string ToYaml(const Snapshot& snapshot);
std::map<ObjectId, api::AnyObject> FromOwnYaml(std::string_view text,
                                               std::vector<SourceProblem>& problems);

}  // namespace kube_lvs
