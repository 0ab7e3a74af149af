#include "node-agent/loop/lazy_backend.h"

#include <gtest/gtest.h>

#include "dataplane/model/testing/fake_backend.h"

namespace kube_lvs {
namespace {

const Step kStep = AddItem{Attachment{"eth0"}};

TEST(LazyBackend, IsOpenedOnlyWhenSomethingIsAdded) {
  int opened = 0;
  LazyBackend lazy(
      "eBPF", TakenByEbpf, [] { return false; },
      [&opened]() -> absl::StatusOr<std::unique_ptr<Backend>> {
        ++opened;
        return std::make_unique<FakeBackend>("eBPF", TakenByEbpf);
      });
  EXPECT_EQ(*lazy.Read(), State{});
  EXPECT_TRUE(lazy.ReadStats().ok());
  EXPECT_EQ(opened, 0);
  EXPECT_TRUE(lazy.Apply(std::vector<Step>{kStep})[0].ok());
  EXPECT_EQ(lazy.Read()->items.size(), 1u);
  EXPECT_EQ(opened, 1);
}

TEST(LazyBackend, WhatAnEarlierProcessLeftIsRead) {
  LazyBackend lazy(
      "eBPF", TakenByEbpf, [] { return true; },
      []() -> absl::StatusOr<std::unique_ptr<Backend>> {
        auto backend = std::make_unique<FakeBackend>("eBPF", TakenByEbpf);
        backend->state().items = {Attachment{"eth0"}};
        return std::unique_ptr<Backend>(std::move(backend));
      });
  EXPECT_EQ(lazy.Read()->items.size(), 1u);
}

TEST(LazyBackend, OpeningIsTriedAgain) {
  bool works = false;
  LazyBackend lazy(
      "eBPF", TakenByEbpf, [] { return true; },
      [&works]() -> absl::StatusOr<std::unique_ptr<Backend>> {
        if (!works) return absl::FailedPreconditionError("no BTF");
        return std::make_unique<FakeBackend>("eBPF", TakenByEbpf);
      });
  EXPECT_TRUE(absl::IsFailedPrecondition(lazy.Read().status()));
  EXPECT_TRUE(absl::IsFailedPrecondition(lazy.Apply(std::vector<Step>{kStep, kStep})[1]));
  EXPECT_TRUE(absl::IsFailedPrecondition(lazy.open_status()));
  works = true;
  EXPECT_TRUE(lazy.Read().ok());
  EXPECT_TRUE(lazy.open_status().ok());
}

}  // namespace
}  // namespace kube_lvs
