// SPDX-License-Identifier: Apache-2.0
#include "interruption.h"

#include <signal.h>

#include "gtest/gtest.h"

namespace flatcow::tool {
namespace {

void (*HandlerOf(int signal))(int) {
  struct sigaction action = {};
  sigaction(signal, nullptr, &action);
  return action.sa_handler;
}

TEST(InterruptionTest, TellsWhichSignalCame) {
  for (const int signal : {SIGINT, SIGTERM}) {
    const Interruption interruption;
    EXPECT_EQ(interruption.signal(), 0);
    raise(signal);
    EXPECT_EQ(interruption.signal(), signal);
  }
}

TEST(InterruptionTest, TheSecondOneEndsTheProcess) {
  const Interruption interruption;
  raise(SIGINT);
  EXPECT_EQ(HandlerOf(SIGINT), SIG_DFL);
  EXPECT_NE(HandlerOf(SIGTERM), SIG_DFL);
  EXPECT_EXIT(raise(SIGINT), testing::KilledBySignal(SIGINT), "");
}

TEST(InterruptionTest, IsForgottenWithTheObject) {
  {
    const Interruption interruption;
    raise(SIGTERM);
  }
  EXPECT_EQ(HandlerOf(SIGINT), SIG_DFL);
  EXPECT_EQ(HandlerOf(SIGTERM), SIG_DFL);
  const Interruption next;
  EXPECT_EQ(next.signal(), 0);
}

TEST(InterruptionTest, AnIgnoredSignalStaysIgnored) {
  signal(SIGINT, SIG_IGN);
  {
    const Interruption interruption;
    raise(SIGINT);
    EXPECT_EQ(interruption.signal(), 0);
  }
  EXPECT_EQ(HandlerOf(SIGINT), SIG_IGN);
  signal(SIGINT, SIG_DFL);
}

}  // namespace
}  // namespace flatcow::tool
