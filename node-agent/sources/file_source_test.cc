#include "node-agent/sources/file_source.h"

#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <condition_variable>
#include <filesystem>
#include <fstream>
#include <thread>

#include "base/status.h"
#include "node-agent/sources/last_good.h"

namespace kube_lvs {
namespace {

std::string Service(const std::string& name) {
  return "apiVersion: kube-lvs.io/v1alpha1\nkind: LVSService\nmetadata: {name: " + name +
         "}\nspec:\n  addresses: [{type: IP, value: 192.0.2.1}]\n  ports: [{name: http, port: "
         "80}]\n  backends:\n  - name: b\n    static: [{address: 10.0.0.1}]\n";
}

class FileSourceTest : public testing::Test {
 protected:
  FileSourceTest() {
    std::string pattern = testing::TempDir() + "/sourceXXXXXX";
    root_ = mkdtemp(pattern.data());
    folder_ = root_ + "/site";
    mkdir(folder_.c_str(), 0700);
  }
  ~FileSourceTest() override {
    thread_ = {};
    std::filesystem::remove_all(root_);
  }
  void Write(const std::string& path, const std::string& text) { std::ofstream(path) << text; }
  void Start() {
    source_ = std::make_unique<FileSource>(folder_, std::map<ObjectId, api::AnyObject>{});
    thread_ = std::jthread([this](std::stop_token stop) {
      const absl::Status status = source_->Run(stop, [this] {
        const std::lock_guard<std::mutex> lock(mu_);
        changed_.notify_all();
      });
      EXPECT_TRUE(status.ok()) << Message(status);
    });
  }
  testing::AssertionResult Becomes(const std::set<std::string>& names) {
    std::unique_lock<std::mutex> lock(mu_);
    std::set<std::string> is;
    const bool done = changed_.wait_for(lock, std::chrono::seconds(10), [&] {
      is.clear();
      const SnapshotPtr snapshot = source_->Get();
      for (const auto& [key, service] : *snapshot->services) is.insert(key);
      return is == names;
    });
    if (done) return testing::AssertionSuccess();
    return testing::AssertionFailure() << "has " << testing::PrintToString(is);
  }

  std::string root_, folder_;
  std::unique_ptr<FileSource> source_;
  std::mutex mu_;
  std::condition_variable changed_;
  std::jthread thread_;
};

TEST_F(FileSourceTest, ChangesAreSeen) {
  Write(folder_ + "/a.yaml", Service("a"));
  Write(folder_ + "/.hidden.yaml", Service("hidden"));
  Write(folder_ + "/notes.txt", "no yaml");
  Start();
  EXPECT_TRUE(source_->Get()->complete);
  EXPECT_TRUE(Becomes({"default/a"}));
  Write(folder_ + "/b.yml", Service("b"));
  EXPECT_TRUE(Becomes({"default/a", "default/b"}));
  Write(folder_ + "/new", Service("c"));
  ASSERT_EQ(rename((folder_ + "/new").c_str(), (folder_ + "/a.yaml").c_str()), 0);
  EXPECT_TRUE(Becomes({"default/b", "default/c"}));
  ASSERT_EQ(unlink((folder_ + "/a.yaml").c_str()), 0);
  EXPECT_TRUE(Becomes({"default/b"}));
}

// A ConfigMap volume: a.yaml -> ..data/a.yaml, ..data -> a folder that changes.
TEST_F(FileSourceTest, ASwappedLinkIsSeen) {
  mkdir((folder_ + "/..1").c_str(), 0700);
  mkdir((folder_ + "/..2").c_str(), 0700);
  Write(folder_ + "/..1/a.yaml", Service("one"));
  Write(folder_ + "/..2/a.yaml", Service("two"));
  ASSERT_EQ(symlink("..1", (folder_ + "/..data").c_str()), 0);
  ASSERT_EQ(symlink("..data/a.yaml", (folder_ + "/a.yaml").c_str()), 0);
  Start();
  EXPECT_TRUE(Becomes({"default/one"}));
  ASSERT_EQ(symlink("..2", (folder_ + "/..tmp").c_str()), 0);
  ASSERT_EQ(rename((folder_ + "/..tmp").c_str(), (folder_ + "/..data").c_str()), 0);
  EXPECT_TRUE(Becomes({"default/two"}));
}

TEST_F(FileSourceTest, AFolderThatGoesRemovesNothingAndItsReturnIsSeen) {
  Write(folder_ + "/a.yaml", Service("a"));
  Start();
  EXPECT_TRUE(Becomes({"default/a"}));
  ASSERT_EQ(rename(folder_.c_str(), (root_ + "/away").c_str()), 0);
  source_->Reload();
  EXPECT_TRUE(Becomes({"default/a"}));
  EXPECT_FALSE(source_->Get()->problems.empty());
  mkdir((root_ + "/next").c_str(), 0700);
  Write(root_ + "/next/b.yaml", Service("b"));
  ASSERT_EQ(rename((root_ + "/next").c_str(), folder_.c_str()), 0);
  EXPECT_TRUE(Becomes({"default/b"}));
  EXPECT_TRUE(source_->Get()->problems.empty());
}

TEST_F(FileSourceTest, AFolderThatIsMovedWhileItIsReadLosesNothing) {
  for (const char* name : {"a", "b", "c", "d"})
    Write(folder_ + "/" + name + ".yaml", Service(name));
  FileSource source(folder_, {});
  std::jthread mover([this](std::stop_token stop) {
    const std::string away = root_ + "/away";
    while (!stop.stop_requested()) {
      rename(folder_.c_str(), away.c_str());
      rename(away.c_str(), folder_.c_str());
    }
  });
  size_t least = 4;
  for (int i = 0; i < 2000; ++i) {
    source.Reload();
    least = std::min(least, source.Get()->services->size());
  }
  EXPECT_EQ(least, 4U);
}

TEST_F(FileSourceTest, LastGoodIsSavedAndLoaded) {
  Write(folder_ + "/a.yaml", Service("a"));
  const LastGood last_good(root_ + "/last-good");
  std::vector<SourceProblem> problems;
  EXPECT_TRUE(absl::IsNotFound(last_good.Load(problems).status()));
  FileSource fresh(folder_, {});
  ASSERT_TRUE(last_good.Save(*fresh.Get()).ok());
  const auto loaded = last_good.Load(problems);
  ASSERT_TRUE(loaded.ok()) << Message(loaded.status());
  EXPECT_EQ(loaded->size(), 1u);
  EXPECT_TRUE(problems.empty());
}

TEST_F(FileSourceTest, TheNewestObjectsAreSavedAtTheLatestAtTheEnd) {
  const LastGood last_good(root_ + "/last-good");
  const std::unique_ptr<Logger> log = NewStderrLogger(Level::kError);
  LastGoodWriter writer(last_good, *log);
  Write(folder_ + "/a.yaml", Service("a"));
  writer.Take(FileSource(folder_, {}).Get());
  std::jthread thread([&writer](std::stop_token stop) {
    EXPECT_TRUE(writer.Run(stop, std::chrono::hours(1)).ok());
  });
  std::vector<SourceProblem> problems;
  const TimePoint until = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  while (!last_good.Load(problems).ok() && std::chrono::steady_clock::now() < until) {
    std::this_thread::yield();
  }
  Write(folder_ + "/b.yaml", Service("b"));
  writer.Take(FileSource(folder_, {}).Get());
  thread.request_stop();
  thread.join();
  const auto loaded = last_good.Load(problems);
  ASSERT_TRUE(loaded.ok()) << Message(loaded.status());
  EXPECT_EQ(loaded->size(), 2u);
}

}  // namespace
}  // namespace kube_lvs
