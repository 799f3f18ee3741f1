// SPDX-License-Identifier: Apache-2.0
//
// INIT with a kernel that is the other end of a socket.
#include "init_step.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"

namespace flatcow::daemon {
namespace {

// Places in a message, in bytes.
constexpr size_t kOpcode = 4;
constexpr size_t kInMajor = 40;
constexpr size_t kInFlags = 52;
constexpr size_t kInFlags2 = 56;
constexpr size_t kError = 4;
constexpr size_t kOutMajor = 16;
constexpr size_t kOutFlags = 28;
constexpr size_t kOutFlags2 = 48;
constexpr size_t kOutDepth = 52;

constexpr uint32_t kAsyncRead = 1u << 0;
constexpr uint32_t kKillprivV2 = 1u << 28;
constexpr uint32_t kExtended = 1u << 30;
constexpr uint32_t kMmap = 1u << 4;
constexpr uint32_t kPassthrough = 1u << 5;
constexpr uint32_t kEverything = kAsyncRead | kKillprivV2 | kExtended;

using Message = std::vector<uint8_t>;

uint32_t At(const Message& message, size_t offset) {
  uint32_t value = 0;
  std::memcpy(&value, message.data() + offset, sizeof(value));
  return value;
}

void Set(Message& message, size_t offset, uint32_t value) {
  std::memcpy(message.data() + offset, &value, sizeof(value));
}

Message Request(uint32_t flags, uint32_t flags2) {
  Message message(104);
  Set(message, 0, 104);
  Set(message, kOpcode, 26);
  Set(message, kInMajor, 7);
  Set(message, kInMajor + 4, 40);
  Set(message, kInFlags, flags);
  Set(message, kInFlags2, flags2);
  return message;
}

Message Answer(uint32_t flags, uint32_t flags2 = 0) {
  Message message(80);
  Set(message, 0, 80);
  Set(message, kOutMajor, 7);
  Set(message, kOutFlags, flags);
  Set(message, kOutFlags2, flags2);
  return message;
}

Agreed Complete(const Message& request, Message& answer,
                bool passthrough = true) {
  return CompleteInit(request, absl::MakeSpan(answer), passthrough);
}

TEST(CompleteInitTest, AsksForAllThatIsOffered) {
  Message answer = Answer(kAsyncRead, 1);
  EXPECT_EQ(Complete(Request(kEverything, kMmap | kPassthrough), answer),
            (Agreed{true, true, true}));
  EXPECT_EQ(At(answer, kOutFlags), kEverything);
  EXPECT_EQ(At(answer, kOutFlags2), 1 | kMmap | kPassthrough);
  EXPECT_EQ(At(answer, kOutDepth), 1u);
}

TEST(CompleteInitTest, AsksForNothingElse) {
  struct {
    uint32_t flags;
    uint32_t flags2;
    Agreed agreed;
  } const cases[] = {
      {kAsyncRead, 0, {}},
      {kAsyncRead | kExtended, 0, {}},
      // Without the flag for it, the second word has no meaning.
      {kAsyncRead, kMmap | kPassthrough, {}},
      {kAsyncRead | kKillprivV2, kMmap, {false, false, true}},
      {kAsyncRead | kExtended, kMmap, {false, true, false}},
      {kAsyncRead | kExtended, kPassthrough, {true, false, false}},
  };
  for (const auto& offer : cases) {
    SCOPED_TRACE(
        absl::StrCat(absl::Hex(offer.flags), " ", absl::Hex(offer.flags2)));
    Message answer = Answer(kAsyncRead);
    EXPECT_EQ(Complete(Request(offer.flags, offer.flags2), answer),
              offer.agreed);
    EXPECT_EQ((At(answer, kOutFlags) & kKillprivV2) != 0,
              offer.agreed.handle_killpriv_v2);
    EXPECT_EQ(At(answer, kOutFlags2),
              (offer.agreed.passthrough ? kPassthrough : 0) |
                  (offer.agreed.direct_io_mmap ? kMmap : 0));
    EXPECT_EQ((At(answer, kOutFlags) & kExtended) != 0,
              At(answer, kOutFlags2) != 0);
    EXPECT_EQ(At(answer, kOutDepth), offer.agreed.passthrough ? 1u : 0u);
  }
}

TEST(CompleteInitTest, PassthroughOnlyIfWanted) {
  Message answer = Answer(kAsyncRead);
  EXPECT_EQ(Complete(Request(kEverything, kMmap | kPassthrough), answer,
                     /*passthrough=*/false),
            (Agreed{false, true, true}));
  EXPECT_EQ(At(answer, kOutFlags2), kMmap);
  EXPECT_EQ(At(answer, kOutDepth), 0u);
}

TEST(CompleteInitTest, LeavesOtherMessagesAlone) {
  const Message request = Request(kEverything, kMmap | kPassthrough);
  Message refusal = Answer(kAsyncRead);
  Set(refusal, kError, static_cast<uint32_t>(-EPROTO));
  Message other_request = request;
  Set(other_request, kOpcode, 3);
  Message newer_protocol = request;
  Set(newer_protocol, kInMajor, 8);
  const Message good = Answer(kAsyncRead);
  const Message short_answer(good.begin(), good.begin() + 40);
  const Message no_request(request.begin(), request.begin() + 16);
  const std::pair<Message, Message> pairs[] = {
      {request, refusal},      {other_request, good}, {newer_protocol, good},
      {request, short_answer}, {no_request, good},    {request, {}}};
  for (const auto& [asked, answered] : pairs) {
    Message answer = answered;
    EXPECT_EQ(Complete(asked, answer), Agreed());
    EXPECT_EQ(answer, answered);
  }
}

// Before the second word of flags.
TEST(CompleteInitTest, ARequestOfAnOldKernelIsShort) {
  Message request = Request(kEverything, 0);
  request.resize(56);
  Message answer = Answer(kAsyncRead);
  EXPECT_EQ(Complete(request, answer), (Agreed{false, false, true}));
}

#ifndef FUSE_CAP_PASSTHROUGH  // else libfuse needs no help
class AnswerInitTest : public testing::Test {
 protected:
  void SetUp() override {
    int ends[2];
    ASSERT_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
    kernel_ = ends[0];
    std::string name = "test";
    char* argv[] = {name.data()};
    fuse_args arguments = FUSE_ARGS_INIT(1, argv);
    session_ = fuse_session_new(&arguments, &operations_, sizeof(operations_),
                                nullptr);
    fuse_opt_free_args(&arguments);
    ASSERT_NE(session_, nullptr);
    ASSERT_EQ(
        fuse_session_mount(session_, absl::StrCat("/dev/fd/", ends[1]).c_str()),
        0);
  }

  void TearDown() override {
    if (session_ != nullptr) fuse_session_destroy(session_);
    CloseKernel();
  }

  void Send(const Message& message) const {
    ASSERT_EQ(send(kernel_, message.data(), message.size(), 0),
              static_cast<ssize_t>(message.size()));
  }

  Message Receive() const {
    Message message(4096);
    const ssize_t size =
        recv(kernel_, message.data(), message.size(), MSG_DONTWAIT);
    message.resize(size < 0 ? 0 : static_cast<size_t>(size));
    return message;
  }

  void CloseKernel() {
    if (kernel_ >= 0) close(kernel_);
    kernel_ = -1;
  }

  fuse_lowlevel_ops operations_ = {};
  fuse_session* session_ = nullptr;
  int kernel_ = -1;
};

TEST_F(AnswerInitTest, TheKernelGetsOneCompletedAnswer) {
  Send(Request(kEverything, kMmap | kPassthrough));
  EXPECT_EQ(AnswerInit(session_, true), (Agreed{true, true, true}));
  const Message answer = Receive();
  ASSERT_EQ(answer.size(), 80u);
  EXPECT_EQ(At(answer, 0), 80u);
  EXPECT_EQ(At(answer, kError), 0u);
  EXPECT_EQ(At(answer, kOutMajor), 7u);
  EXPECT_EQ(At(answer, kOutFlags) & kEverything, kEverything);
  EXPECT_EQ(At(answer, kOutFlags2), kMmap | kPassthrough);
  EXPECT_TRUE(Receive().empty());
}

TEST_F(AnswerInitTest, TheSessionGoesOnWithItsDevice) {
  Send(Request(kEverything, 0));
  AnswerInit(session_, true);
  Receive();
  // STATFS, for which there is no operation.
  Message request(40);
  Set(request, 0, 40);
  Set(request, kOpcode, 17);
  Send(request);
  fuse_buf buffer = {};
  ASSERT_EQ(fuse_session_receive_buf(session_, &buffer), 40);
  fuse_session_process_buf(session_, &buffer);
  std::free(buffer.mem);
  EXPECT_GE(Receive().size(), 16u);
}

TEST_F(AnswerInitTest, AConnectionThatEndsIsLeftToTheLoop) {
  const int device = fuse_session_fd(session_);
  CloseKernel();
  EXPECT_EQ(AnswerInit(session_, true), Agreed());
  EXPECT_EQ(fuse_session_fd(session_), device);
  char byte;
  EXPECT_EQ(read(device, &byte, 1), 0);  // the socket, not the memory
}
#endif

}  // namespace
}  // namespace flatcow::daemon
