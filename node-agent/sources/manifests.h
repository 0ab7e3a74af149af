// Files full of objects -> objects, remembering what was good: a broken file or object is reported,
// and its last good version stays until it is mended or removed. Pure.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "kube/api/decode.h"
#include "node-agent/sources/objects.h"

namespace kube_lvs {

// Name (without the folder) -> its text, or why it cannot be read.
using FileTexts = std::map<std::string, absl::StatusOr<std::string>>;

class Manifests {
 public:
  // `cached`: the last good objects of an earlier process. They stand in for what is broken from
  // the start.
  explicit Manifests(std::map<ObjectId, api::AnyObject> cached) : cached_(std::move(cached)) {}

  // Of two files with the same object the first by name has it. Objects without a namespace are in
  // "default". Kinds that are neither kube-lvs's nor read by it are left alone.
  void Update(const FileTexts& files);

  const std::map<ObjectId, api::AnyObject>& objects() const { return objects_; }
  const std::vector<SourceProblem>& problems() const { return problems_; }

 private:
  struct Found {
    std::map<ObjectId, api::AnyObject> objects;  // good ones
    std::map<ObjectId, std::string> file;        // of good and of broken ones
    std::set<ObjectId> broken;
    std::set<std::string> broken_files;
  };
  void AddFile(const std::string& name, const std::string& text, Found& found);
  void Problem(const std::string& where, const std::string& message) {
    problems_.push_back({where, message});
  }

  std::map<ObjectId, api::AnyObject> cached_;
  std::map<ObjectId, api::AnyObject> objects_;
  std::map<ObjectId, std::string> file_of_;  // of objects_
  std::set<std::string> ever_good_;          // files
  std::vector<SourceProblem> problems_;
};

}  // namespace kube_lvs
