// Netlink's rules: who answers what, and what a lost answer means. The kernel is the fake one,
// behind a socket that speaks netlink.
#include "dataplane/ipvs/netlink_channel.h"

#include <linux/ip_vs.h>
#include <linux/netlink.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <deque>
#include <random>
#include <string>

#include "base/status.h"
#include "dataplane/ipvs/codec.h"
#include "dataplane/ipvs/fake_kernel.h"
#include "dataplane/ipvs/reading.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace kube_lvs::ipvs {
namespace {

using ::testing::Each;
using ::testing::HasSubstr;
using ::testing::Le;

constexpr uint16_t kFamily = 27;

Bytes Message(uint16_t type, uint16_t flags, uint32_t sequence, ByteView payload) {
  nlmsghdr header{};
  header.nlmsg_len = static_cast<uint32_t>(NLMSG_HDRLEN + payload.size());
  header.nlmsg_type = type;
  header.nlmsg_flags = flags;
  header.nlmsg_seq = sequence;
  Bytes out(NLMSG_ALIGN(header.nlmsg_len));
  std::memcpy(out.data(), &header, sizeof header);
  std::copy(payload.begin(), payload.end(), out.begin() + NLMSG_HDRLEN);
  return out;
}

Bytes Acknowledgement(uint32_t sequence, int error) {
  const int code = -error;
  Bytes payload(sizeof(nlmsgerr));
  std::memcpy(payload.data(), &code, sizeof code);
  return Message(NLMSG_ERROR, NLM_F_CAPPED, sequence, payload);
}

// What a test says about the sockets that it hands out, and what it saw on them.
struct Network {
  FakeKernel kernel;
  int opened = 0;
  std::vector<size_t> sends;    // messages in each
  std::vector<size_t> bytes;    // of each
  std::vector<uint16_t> flags;  // of each message
  int interrupted_dumps = 0;    // so many to come
  int lost_answers = 0;         // so many to come: instead, nothing arrives in time
  int overruns = 0;             // so many sends to come whose answers are dropped
  bool unsendable = false;
  std::mt19937* shuffle = nullptr;  // answers arrive in any order, some together
  std::vector<Bytes> noise;         // arrives before everything else
};

class FakeWire final : public Wire {
 public:
  explicit FakeWire(Network& network) : network_(network) {
    ++network.opened;
    for (const Bytes& message : network.noise) arriving_.push_back(message);
  }

  uint16_t family() const override { return kFamily; }
  uint32_t port() const override { return 4711; }

  absl::Status Write(const Bytes& messages) override {
    if (network_.unsendable) return absl::UnavailableError("EAGAIN");
    size_t count = 0;
    std::vector<Bytes> answers;
    for (size_t at = 0; at < messages.size(); ++count) {
      nlmsghdr header;
      std::memcpy(&header, messages.data() + at, sizeof header);
      EXPECT_EQ(header.nlmsg_type, kFamily);
      EXPECT_EQ(header.nlmsg_pid, port());
      const Bytes request(messages.begin() + static_cast<long>(at) + NLMSG_HDRLEN,
                          messages.begin() + static_cast<long>(at) + header.nlmsg_len);
      network_.flags.push_back(header.nlmsg_flags);
      Answer(header, request, answers);
      at += NLMSG_ALIGN(header.nlmsg_len);
    }
    network_.sends.push_back(count);
    network_.bytes.push_back(messages.size());
    if (network_.overruns > 0) {
      --network_.overruns;
      answers.resize(answers.size() / 2);
      overrun_ = true;
    }
    if (network_.shuffle != nullptr) std::ranges::shuffle(answers, *network_.shuffle);
    for (Bytes& answer : answers) {
      const bool joins = network_.shuffle != nullptr && (*network_.shuffle)() % 2 == 0;
      if (joins && !arriving_.empty()) {
        arriving_.back().insert(arriving_.back().end(), answer.begin(), answer.end());
      } else {
        arriving_.push_back(std::move(answer));
      }
    }
    return absl::OkStatus();
  }

  absl::StatusOr<Bytes> Read() override {
    if (arriving_.empty()) {
      return absl::UnavailableError(overrun_ ? "ENOBUFS" : "no answer within 30 s");
    }
    Bytes out = arriving_.front();
    arriving_.pop_front();
    return out;
  }

 private:
  void Answer(const nlmsghdr& header, const Bytes& request, std::vector<Bytes>& answers) {
    if ((header.nlmsg_flags & NLM_F_DUMP) == NLM_F_DUMP) {
      const auto dump = network_.kernel.Dump(request);
      const bool interrupted = network_.interrupted_dumps > 0;
      if (interrupted) --network_.interrupted_dumps;
      const uint16_t flags = NLM_F_MULTI | (interrupted ? NLM_F_DUMP_INTR : 0);
      for (const ByteView message : *dump) {
        answers.push_back(
            Message(kFamily, flags, header.nlmsg_seq, Bytes(message.begin(), message.end())));
      }
      const int zero = 0;
      Bytes payload(sizeof zero);
      std::memcpy(payload.data(), &zero, sizeof zero);
      answers.push_back(Message(NLMSG_DONE, flags, header.nlmsg_seq, payload));
      return;
    }
    const uint8_t command = request[0];
    if (command == IPVS_CMD_GET_INFO || command == IPVS_CMD_GET_SERVICE) {
      const auto answer = network_.kernel.Ask(request);
      if (answer.ok()) answers.push_back(Message(kFamily, 0, header.nlmsg_seq, *answer));
      answers.push_back(Acknowledgement(header.nlmsg_seq, answer.ok() ? 0 : ESRCH));
      return;
    }
    const int error = network_.kernel.Send(std::span(&request, 1))->front();
    if (network_.lost_answers > 0) {
      --network_.lost_answers;
      return;
    }
    answers.push_back(Acknowledgement(header.nlmsg_seq, error));
  }

  Network& network_;
  std::deque<Bytes> arriving_;
  bool overrun_ = false;
};

class NetlinkChannelTest : public ::testing::Test {
 protected:
  static ServiceKey Key(int i) {
    return {.dataplane = Dataplane::kIpvs,
            .match = Endpoint{*IpAddress::Parse("192.0.2.1"), static_cast<uint16_t>(i)},
            .protocol = Protocol::kTcp};
  }
  static Bytes Add(int i) { return *EncodeService(Command::kNewService, Key(i), {}); }
  static std::vector<Bytes> Add(int from, int to) {
    std::vector<Bytes> out;
    for (int i = from; i <= to; ++i) out.push_back(Add(i));
    return out;
  }

  Network network_;
  NetlinkChannel channel_{[this]() -> absl::StatusOr<std::unique_ptr<Wire>> {
    return std::unique_ptr<Wire>(std::make_unique<FakeWire>(network_));
  }};
};

TEST_F(NetlinkChannelTest, ManyRequestsGoWithOneSendAndEachIsAnswered) {
  const auto answers = channel_.Send(Add(1, 300));
  ASSERT_EQ(answers.status(), absl::OkStatus());
  EXPECT_EQ(*answers, std::vector<int>(300, 0));
  EXPECT_EQ(network_.sends, (std::vector<size_t>{64, 64, 64, 64, 44}));
  EXPECT_THAT(network_.flags, Each(NLM_F_REQUEST | NLM_F_ACK));
  EXPECT_EQ(channel_.changes_sent(), 300u);
  EXPECT_EQ(network_.opened, 1);
}

TEST_F(NetlinkChannelTest, ASendFitsIntoTheSocketsBuffer) {
  // Requests with a long unknown attribute, which the kernel ignores.
  std::vector<Bytes> requests = Add(1, 40);
  for (Bytes& request : requests) AttributeWriter(request).Put(99, Bytes(4000));
  const auto answers = channel_.Send(requests);
  ASSERT_EQ(answers.status(), absl::OkStatus());
  EXPECT_EQ(*answers, std::vector<int>(40, 0));
  EXPECT_THAT(network_.bytes, Each(Le(32u * 1024 + 5000)));
  // One that does not fit goes alone.
  AttributeWriter(requests.front()).Put(98, Bytes(60000));
  EXPECT_EQ(*channel_.Send(std::span(&requests.front(), 1)), std::vector<int>{EEXIST});
}

TEST_F(NetlinkChannelTest, AnswersAreMatchedByNumberNotByPlace) {
  const uint32_t seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  network_.shuffle = &random;
  std::vector<Bytes> requests;
  for (int i = 1; i <= 200; ++i) requests.push_back(Add(i % 3 == 0 ? 1 : i));
  const auto answers = channel_.Send(requests);
  ASSERT_EQ(answers.status(), absl::OkStatus());
  for (int i = 1; i <= 200; ++i) EXPECT_EQ((*answers)[i - 1], i % 3 == 0 ? EEXIST : 0) << i;
}

TEST_F(NetlinkChannelTest, WhatIsNotOursIsPassedOver) {
  network_.noise = {Acknowledgement(0, EPERM), Acknowledgement(99999, EPERM),
                    Message(kFamily, 0, 1, Bytes{1, 1, 0, 0}), Message(NLMSG_NOOP, 0, 1, {})};
  EXPECT_EQ(*channel_.Send(Add(1, 2)), (std::vector<int>{0, 0}));
}

TEST_F(NetlinkChannelTest, ALostAnswerMakesTheOutcomeUnknownAndCostsTheSocket) {
  network_.lost_answers = 1;
  EXPECT_EQ(channel_.Send(Add(1, 100)).status().code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(network_.sends, std::vector<size_t>{64});  // nothing more was sent
  EXPECT_EQ(network_.opened, 1);
  const auto services = ReadServices(channel_);
  ASSERT_EQ(services.status(), absl::OkStatus());
  EXPECT_EQ(services->size(), 64u);
  EXPECT_EQ(network_.opened, 2);
}

TEST_F(NetlinkChannelTest, AnswersThatWereDroppedToo) {
  network_.overruns = 1;
  EXPECT_EQ(channel_.Send(Add(1, 64)).status().code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(*channel_.Send(Add(65, 66)), (std::vector<int>{0, 0}));
  network_.overruns = 1;
  EXPECT_EQ(ReadServices(channel_).status().code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(ReadServices(channel_)->size(), 66u);
  EXPECT_EQ(network_.opened, 3);
}

TEST_F(NetlinkChannelTest, WhatCannotBeSentIsTriedByTheCallerOnANewSocket) {
  network_.unsendable = true;
  EXPECT_EQ(channel_.Send(Add(1, 1)).status().code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(channel_.Ask(EncodePlain(Command::kGetInfo)).status().code(),
            absl::StatusCode::kUnavailable);
  network_.unsendable = false;
  EXPECT_EQ(*channel_.Send(Add(1, 1)), std::vector<int>{0});
  EXPECT_EQ(network_.opened, 3);
}

TEST_F(NetlinkChannelTest, AnInterruptedDumpIsAskedForAgain) {
  ASSERT_TRUE(channel_.Send(Add(1, 5)).ok());
  network_.interrupted_dumps = 3;
  const auto services = ReadServices(channel_);
  ASSERT_EQ(services.status(), absl::OkStatus());
  EXPECT_EQ(services->size(), 5u);  // of the last reading alone
  EXPECT_EQ(network_.sends.size(), 1u + 4);
  network_.interrupted_dumps = 1000;
  const absl::Status status = ReadServices(channel_).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(kube_lvs::Message(status), HasSubstr("changed during each of 8 readings"));
}

TEST_F(NetlinkChannelTest, AnswersThatAreCutOffAreAnError) {
  for (const size_t size : {17u, 20u, 35u}) {
    Bytes cut = Acknowledgement(0, 0);
    cut.resize(size);
    network_.noise = {cut};
    NetlinkChannel channel([this]() -> absl::StatusOr<std::unique_ptr<Wire>> {
      return std::unique_ptr<Wire>(std::make_unique<FakeWire>(network_));
    });
    EXPECT_EQ(channel.Ask(EncodePlain(Command::kGetInfo)).status().code(),
              absl::StatusCode::kInternal);
  }
  network_.noise = {Message(NLMSG_OVERRUN, 0, 0, {})};
  NetlinkChannel channel([this]() -> absl::StatusOr<std::unique_ptr<Wire>> {
    return std::unique_ptr<Wire>(std::make_unique<FakeWire>(network_));
  });
  EXPECT_EQ(channel.Ask(EncodePlain(Command::kGetInfo)).status().code(),
            absl::StatusCode::kUnavailable);
}

TEST_F(NetlinkChannelTest, AQuestionWithAnErrorHasThatError) {
  EXPECT_EQ(channel_.Ask(EncodeKey(Command::kGetService, Key(1))).status().code(),
            absl::StatusCode::kNotFound);
  EXPECT_EQ(ReadInfo(channel_)->version, 0x010201u);
}

}  // namespace
}  // namespace kube_lvs::ipvs
